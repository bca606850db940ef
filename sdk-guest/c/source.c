/* Exports the interfaces `metadata-provider` and `partition-consumer`. */
#include <stdlib.h>
#include <string.h>

#include "messages.h"

struct exports_spout_plugin_metadata_provider_provider_t {
  void *self;
};

struct exports_spout_plugin_partition_consumer_consumer_t {
  void *self;
};

struct spout_partitions {
  exports_spout_plugin_metadata_provider_list_partition_info_t list;
  size_t room;
};

__attribute__((weak)) bool spout_resolve(void *self, uint32_t partition, spout_start at, uint64_t value, uint64_t *offset) {
  (void)self, (void)partition;
  *offset = at == SPOUT_AT_OFFSET ? value : 0;
  return at == SPOUT_EARLIEST || at == SPOUT_AT_OFFSET;
}

__attribute__((weak)) void spout_committed(void *self, uint32_t partition, uint64_t offset) {
  (void)self, (void)partition, (void)offset;
}

void spout_partition(spout_partitions *partitions, uint32_t id, const char *label, bool ended) {
  if (partitions->list.len == partitions->room) {
    partitions->room = partitions->room ? 2 * partitions->room : 16;
    partitions->list.ptr = realloc(partitions->list.ptr, partitions->room * sizeof *partitions->list.ptr);
    if (partitions->list.ptr == NULL) abort();
  }
  partitions->list.ptr[partitions->list.len++] =
      (exports_spout_plugin_metadata_provider_partition_info_t){id, spout_owned(label), ended};
}

void exports_spout_plugin_about_describe(exports_spout_plugin_about_list_offer_t *ret) { spout_offer(ret, "partition-consumer"); }

/* Opens the plugin for either interface; NULL, and `error` says why. */
static void *opened(plugin_string_t *name, plugin_string_t *topic, spout_plugin_types_settings_t *settings,
    spout_plugin_types_error_t *error) {
  bool sound = spout_take_settings(settings);
  spout_plugin_types_settings_free(settings);
  plugin_string_free(name);
  spout_take_topic(topic);
  void *self = sound ? spout_open(NULL, 0) : NULL;
  if (self == NULL || spout_failure[0]) {
    spout_error(error, SPOUT_PLUGIN_TYPES_ERROR_INVALID_CONFIG, "settings");
    return NULL;
  }
  return self;
}

void exports_spout_plugin_metadata_provider_provider_destructor(exports_spout_plugin_metadata_provider_provider_t *rep) { free(rep); }

void exports_spout_plugin_partition_consumer_consumer_destructor(exports_spout_plugin_partition_consumer_consumer_t *rep) { free(rep); }

bool exports_spout_plugin_metadata_provider_static_provider_open(plugin_string_t *name, plugin_string_t *topic,
    exports_spout_plugin_metadata_provider_settings_t *settings, exports_spout_plugin_metadata_provider_own_provider_t *ret,
    exports_spout_plugin_metadata_provider_error_t *err) {
  exports_spout_plugin_metadata_provider_provider_t *provider = calloc(1, sizeof *provider);
  if (provider == NULL) abort();
  provider->self = opened(name, topic, settings, err);
  if (provider->self == NULL) return false;
  *ret = exports_spout_plugin_metadata_provider_provider_new(provider);
  return true;
}

bool exports_spout_plugin_metadata_provider_method_provider_partitions(exports_spout_plugin_metadata_provider_borrow_provider_t self,
    exports_spout_plugin_metadata_provider_list_known_partition_t *known, uint32_t timeout_ms,
    exports_spout_plugin_metadata_provider_list_partition_info_t *ret, exports_spout_plugin_metadata_provider_error_t *err) {
  (void)timeout_ms;
  exports_spout_plugin_metadata_provider_list_known_partition_free(known);
  spout_partitions partitions = {0};
  bool sound = spout_list(self->self, &partitions) && !spout_failure[0];
  if (sound && partitions.list.len > 0) {
    *ret = partitions.list;
    return true;
  }
  for (size_t at = 0; at < partitions.list.len; at++)
    exports_spout_plugin_metadata_provider_partition_info_free(&partitions.list.ptr[at]);
  free(partitions.list.ptr);
  memset(ret, 0, sizeof *ret);
  if (!sound) spout_source_error(err);
  return sound;
}

bool exports_spout_plugin_metadata_provider_method_provider_resolve(exports_spout_plugin_metadata_provider_borrow_provider_t self,
    exports_spout_plugin_metadata_provider_partition_id_t partition, exports_spout_plugin_metadata_provider_offset_criteria_t *at,
    uint32_t timeout_ms, exports_spout_plugin_metadata_provider_option_position_t *ret,
    exports_spout_plugin_metadata_provider_error_t *err) {
  (void)timeout_ms;
  uint64_t value = at->tag == SPOUT_AT_OFFSET ? at->val.at_offset : at->tag == SPOUT_AT_TIME_MS ? at->val.at_time_ms : 0;
  memset(ret, 0, sizeof *ret);
  ret->is_some = spout_resolve(self->self, partition, (spout_start)at->tag, value, &ret->val.offset);
  bool sound = !spout_failure[0];
  if (!sound) spout_source_error(err);
  return sound;
}

bool exports_spout_plugin_partition_consumer_static_consumer_open(plugin_string_t *name, plugin_string_t *topic,
    exports_spout_plugin_partition_consumer_settings_t *settings, exports_spout_plugin_partition_consumer_own_consumer_t *ret,
    exports_spout_plugin_partition_consumer_error_t *err) {
  exports_spout_plugin_partition_consumer_consumer_t *consumer = calloc(1, sizeof *consumer);
  if (consumer == NULL) abort();
  consumer->self = opened(name, topic, settings, err);
  if (consumer->self == NULL) return false;
  *ret = exports_spout_plugin_partition_consumer_consumer_new(consumer);
  return true;
}

/* What one partition has, or its own error; whether that is anything. */
static bool fetch(void *self, uint32_t partition, uint64_t start, spout_limits limits,
    exports_spout_plugin_partition_consumer_result_fetched_error_t *answer, size_t *messages_made, size_t *bytes_made) {
  spout_messages messages = {0};
  uint64_t next = start;
  spout_progress progress = spout_fetch(self, partition, start, limits, &messages, &next);
  *messages_made = messages.count, *bytes_made = messages.bytes.len;
  memset(answer, 0, sizeof *answer);
  answer->is_err = progress == SPOUT_FAILED || spout_failure[0];
  if (answer->is_err) {
    spout_messages_free(&messages);
    spout_source_error(&answer->val.err);
    return true;
  }
  exports_spout_plugin_partition_consumer_fetched_t *fetched = &answer->val.ok;
  bool some = messages.count > 0 || progress != SPOUT_IDLE;
  spout_messages_move(&messages, &fetched->messages);
  fetched->next.offset = next;
  fetched->progress = progress == SPOUT_MORE   ? SPOUT_PLUGIN_TYPES_PROGRESS_MORE
                      : progress == SPOUT_IDLE ? SPOUT_PLUGIN_TYPES_PROGRESS_IDLE
                                               : SPOUT_PLUGIN_TYPES_PROGRESS_ENDED;
  return some;
}

bool exports_spout_plugin_partition_consumer_method_consumer_fetch(exports_spout_plugin_partition_consumer_borrow_consumer_t self,
    exports_spout_plugin_partition_consumer_list_tuple2_partition_id_position_t *wanted,
    exports_spout_plugin_partition_consumer_fetch_limits_t *limits,
    exports_spout_plugin_partition_consumer_list_tuple2_partition_id_result_fetched_error_t *ret,
    exports_spout_plugin_partition_consumer_error_t *err) {
  (void)err;
  ret->ptr = calloc(wanted->len + 1, sizeof *ret->ptr);
  if (ret->ptr == NULL) abort();
  bool some = false;
  for (uint32_t waited = 0;; waited += 50) {
    size_t messages = limits->max_messages, bytes = limits->max_bytes;
    ret->len = 0;
    for (size_t at = 0; at < wanted->len && messages > 0 && bytes > 0; at++) {
      /* The limits are for all partitions together: each has its share of what the ones before have left. */
      size_t share = wanted->len - at, made, made_bytes;
      spout_limits own = {messages / share ? messages / share : 1, bytes / share ? bytes / share : 1};
      some |= fetch(self->self, wanted->ptr[at].f0, wanted->ptr[at].f1.offset, own, &ret->ptr[ret->len].f1, &made, &made_bytes);
      ret->ptr[ret->len++].f0 = wanted->ptr[at].f0;
      messages -= made < messages ? made : messages, bytes -= made_bytes < bytes ? made_bytes : bytes;
    }
    if (some || waited >= limits->timeout_ms) break;
    if (!spout_pause(limits->timeout_ms - waited < 50 ? limits->timeout_ms - waited : 50)) break;
  }
  exports_spout_plugin_partition_consumer_list_tuple2_partition_id_position_free(wanted);
  if (ret->len == 0) free(ret->ptr), ret->ptr = NULL;
  return true;
}

bool exports_spout_plugin_partition_consumer_method_consumer_committed(exports_spout_plugin_partition_consumer_borrow_consumer_t self,
    exports_spout_plugin_partition_consumer_list_tuple2_partition_id_position_t *upto,
    exports_spout_plugin_partition_consumer_error_t *err) {
  for (size_t at = 0; at < upto->len; at++) spout_committed(self->self, upto->ptr[at].f0, upto->ptr[at].f1.offset);
  exports_spout_plugin_partition_consumer_list_tuple2_partition_id_position_free(upto);
  bool sound = !spout_failure[0];
  if (!sound) spout_source_error(err);
  return sound;
}
