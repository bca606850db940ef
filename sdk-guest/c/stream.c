/* Exports the interface `stream-consumer`. */
#include <stdlib.h>
#include <string.h>

#include "messages.h"

struct exports_spout_plugin_stream_consumer_consumer_t {
  void *self;
};

void exports_spout_plugin_about_describe(exports_spout_plugin_about_list_offer_t *ret) { spout_offer(ret, "stream-consumer"); }

void exports_spout_plugin_stream_consumer_consumer_destructor(exports_spout_plugin_stream_consumer_consumer_t *rep) { free(rep); }

bool exports_spout_plugin_stream_consumer_static_consumer_open(plugin_string_t *name, plugin_string_t *topic, plugin_string_t *group,
    exports_spout_plugin_stream_consumer_start_at_t *at, exports_spout_plugin_stream_consumer_settings_t *settings,
    exports_spout_plugin_stream_consumer_own_consumer_t *ret, exports_spout_plugin_stream_consumer_error_t *err) {
  exports_spout_plugin_stream_consumer_consumer_t *consumer = calloc(1, sizeof *consumer);
  if (consumer == NULL) abort();
  bool sound = spout_take_settings(settings);
  spout_plugin_types_settings_free(settings);
  plugin_string_free(name);
  plugin_string_free(group);
  spout_take_topic(topic);
  plugin_option_list_u8_t *extra = &at->val.checkpoint.extra;
  bool resumes = at->tag == EXPORTS_SPOUT_PLUGIN_STREAM_CONSUMER_START_AT_CHECKPOINT;
  bool latest = at->tag == EXPORTS_SPOUT_PLUGIN_STREAM_CONSUMER_START_AT_LATEST;
  bool state = resumes && extra->is_some;
  if (sound) consumer->self = spout_open(state ? extra->val.ptr : NULL, state ? extra->val.len : 0);
  if (latest && consumer->self && !spout_failure[0] && !spout_from_latest(consumer->self))
    spout_fail("this source cannot start at `latest`");
  exports_spout_plugin_stream_consumer_start_at_free(at);
  if (consumer->self == NULL || spout_failure[0]) {
    spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_INVALID_CONFIG, "settings");
    return false;
  }
  *ret = exports_spout_plugin_stream_consumer_consumer_new(consumer);
  return true;
}

__attribute__((weak)) bool spout_from_latest(void *self) {
  (void)self;
  return false;
}

bool exports_spout_plugin_stream_consumer_method_consumer_next(exports_spout_plugin_stream_consumer_borrow_consumer_t self,
    exports_spout_plugin_stream_consumer_fetch_limits_t *limits,
    exports_spout_plugin_stream_consumer_tuple2_messages_progress_t *ret, exports_spout_plugin_stream_consumer_error_t *err) {
  spout_messages messages = {0};
  spout_progress progress = spout_next(self->self, (spout_limits){limits->max_messages, limits->max_bytes}, &messages);
  if (progress == SPOUT_FAILED || spout_failure[0]) {
    spout_messages_free(&messages);
    spout_source_error(err);
    return false;
  }
  messages.placed = messages.count > 0;
  if (messages.count == 0 && progress == SPOUT_IDLE) spout_pause(limits->timeout_ms < 100 ? limits->timeout_ms : 100);
  spout_messages_move(&messages, &ret->f0);
  ret->f1 = progress == SPOUT_MORE   ? SPOUT_PLUGIN_TYPES_PROGRESS_MORE
            : progress == SPOUT_IDLE ? SPOUT_PLUGIN_TYPES_PROGRESS_IDLE
                                     : SPOUT_PLUGIN_TYPES_PROGRESS_ENDED;
  return true;
}

bool exports_spout_plugin_stream_consumer_method_consumer_checkpoint(exports_spout_plugin_stream_consumer_borrow_consumer_t self,
    exports_spout_plugin_stream_consumer_checkpoint_t *ret, exports_spout_plugin_stream_consumer_error_t *err) {
  memset(ret, 0, sizeof *ret);
  spout_text checkpoint = spout_checkpoint(self->self);
  if (spout_failure[0]) {
    spout_source_error(err);
    return false;
  }
  plugin_string_t owned = spout_owned_bytes(checkpoint.at, checkpoint.length);
  ret->extra.is_some = true;
  ret->extra.val = (plugin_list_u8_t){owned.ptr, owned.len};
  return true;
}

bool exports_spout_plugin_stream_consumer_method_consumer_committed(exports_spout_plugin_stream_consumer_borrow_consumer_t self,
    exports_spout_plugin_stream_consumer_checkpoint_t *upto, exports_spout_plugin_stream_consumer_error_t *err) {
  (void)self, (void)err;
  exports_spout_plugin_stream_consumer_checkpoint_free(upto);
  return true;
}
