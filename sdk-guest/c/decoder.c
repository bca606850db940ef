/* Exports the interface `decoder`. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boundary.h"
#include "spout_project.h"

struct exports_spout_plugin_decoder_decoding_t {
  void *self;
  bool told;
};

static char fault_code[128];

bool spout_fault(const char *code, const char *format, ...) {
  snprintf(fault_code, sizeof fault_code, "%s.%s", SPOUT_NAME, code);
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(spout_failure, sizeof spout_failure, format, arguments);
  va_end(arguments);
  return false;
}

void exports_spout_plugin_about_describe(exports_spout_plugin_about_list_offer_t *ret) { spout_offer(ret, "decoder"); }

void exports_spout_plugin_decoder_decoding_destructor(exports_spout_plugin_decoder_decoding_t *rep) { free(rep); }

bool exports_spout_plugin_decoder_static_decoding_open(plugin_string_t *name, plugin_string_t *topic,
    plugin_list_string_t *maybe_fields, plugin_string_t *maybe_schema,
    exports_spout_plugin_decoder_settings_t *settings, exports_spout_plugin_decoder_own_decoding_t *ret,
    exports_spout_plugin_decoder_error_t *err) {
  exports_spout_plugin_decoder_decoding_t *decoding = calloc(1, sizeof *decoding);
  bool sound = decoding && spout_take_settings(settings);
  spout_plugin_types_settings_free(settings);
  plugin_string_free(name);
  plugin_string_free(topic);
  if (maybe_fields) plugin_list_string_free(maybe_fields);
  if (maybe_schema) plugin_string_free(maybe_schema);
  if (sound) decoding->self = spout_open(NULL, 0);
  if (!sound || spout_failure[0]) {
    spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_INVALID_CONFIG, "settings");
    return false;
  }
  *ret = exports_spout_plugin_decoder_decoding_new(decoding);
  return true;
}

bool exports_spout_plugin_decoder_method_decoding_output(exports_spout_plugin_decoder_borrow_decoding_t self,
    exports_spout_plugin_decoder_option_schema_t *ret, exports_spout_plugin_decoder_error_t *err) {
  (void)self, (void)err;
  ret->is_some = true;
  spout_out_schema(&ret->val);
  return true;
}

bool exports_spout_plugin_decoder_method_decoding_decode(exports_spout_plugin_decoder_borrow_decoding_t self,
    exports_spout_plugin_decoder_messages_t *input, exports_spout_plugin_decoder_decoded_t *ret,
    exports_spout_plugin_decoder_error_t *err) {
  (void)err;
  size_t count = input->values.bounds.len ? input->values.bounds.len - 1 : 0, null = 0, room = 0;
  spout_out out;
  spout_out_begin(&out);
  memset(ret, 0, sizeof *ret);
  ret->faults.ptr = calloc(count + 1, sizeof *ret->faults.ptr);
  for (size_t at = 0; at < count; at++) {
    if (null < input->nulls.len && input->nulls.ptr[null] == at) {
      null++;
      continue;
    }
    uint32_t from = input->values.bounds.ptr[at], to = input->values.bounds.ptr[at + 1];
    size_t before = out.rows;
    spout_text message = {(const char *)input->values.bytes.ptr + from, to - from};
    snprintf(fault_code, sizeof fault_code, "%s.column", SPOUT_NAME);
    if (!spout_decode(self->self, message, &out) || spout_failure[0]) {
      /* Rows before a fault would be rows of a dead letter. */
      spout_out_cut(&out, before);
      ret->faults.ptr[ret->faults.len++] = (exports_spout_plugin_decoder_row_fault_t){
          (uint32_t)at, spout_owned(fault_code), spout_owned(spout_failure)};
      spout_failure[0] = 0;
    }
    while (ret->origins.len < out.rows) {
      if (ret->origins.len == room) {
        room = room ? 2 * room : 1024;
        ret->origins.ptr = realloc(ret->origins.ptr, room * sizeof *ret->origins.ptr);
        if (ret->origins.ptr == NULL) abort();
      }
      ret->origins.ptr[ret->origins.len++] = (uint32_t)at;
    }
  }
  spout_plugin_types_messages_free(input);
  if (!self->told) {
    ret->schema.is_some = true;
    spout_out_schema(&ret->schema.val);
    self->told = true;
  }
  spout_out_parts(&out, &ret->batch);
  return true;
}
