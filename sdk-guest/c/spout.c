/* What both kinds of plugins have in common: settings, errors, log, and rows that are made. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boundary.h"
#include "spout_project.h"

typedef struct {
  const char *name;
  const char *fallback; /* NULL: it is required. */
} declared;

static const declared DECLARED[] = SPOUT_SETTINGS;
static const size_t COUNT = sizeof DECLARED / sizeof DECLARED[0] - 1;
static char *values[sizeof DECLARED / sizeof DECLARED[0]];

char spout_failure[512];

__attribute__((weak)) const spout_field spout_columns[] = {{0}};

static void *sound(void *memory) {
  if (memory == NULL) abort();
  return memory;
}

plugin_string_t spout_owned_bytes(const void *bytes, size_t length) {
  plugin_string_t owned = {length ? sound(malloc(length)) : NULL, length};
  if (length) memcpy(owned.ptr, bytes, length);
  return owned;
}

plugin_string_t spout_owned(const char *text) { return spout_owned_bytes(text, strlen(text)); }

void *spout_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(spout_failure, sizeof spout_failure, format, arguments);
  va_end(arguments);
  return NULL;
}

void spout_error(spout_plugin_types_error_t *error, uint8_t tag, const char *code) {
  error->tag = tag;
  error->val.fatal.code = spout_owned(code);
  error->val.fatal.message = spout_owned(spout_failure[0] ? spout_failure : "the plugin gave no reason");
  error->val.fatal.retry_after_ms.is_some = false;
  spout_failure[0] = 0;
}

void spout_log(spout_level level, const char *format, ...) {
  if (!spout_plugin_log_enabled(level)) return;
  char line[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(line, sizeof line, format, arguments);
  va_end(arguments);
  plugin_string_t message = {(uint8_t *)line, strlen(line)};
  plugin_list_tuple2_string_string_t fields = {NULL, 0};
  spout_plugin_log_write(level, &message, &fields);
}

static size_t place_of(const char *name, size_t length) {
  size_t at = 0;
  while (at < COUNT && !(strlen(DECLARED[at].name) == length && memcmp(DECLARED[at].name, name, length) == 0)) at++;
  return at;
}

bool spout_take_settings(spout_plugin_types_settings_t *settings) {
  for (size_t at = 0; at < COUNT; at++) {
    free(values[at]);
    values[at] = DECLARED[at].fallback ? sound(strdup(DECLARED[at].fallback)) : NULL;
  }
  for (size_t at = 0; at < settings->len; at++) {
    plugin_string_t name = settings->ptr[at].f0, value = settings->ptr[at].f1;
    size_t place = place_of((const char *)name.ptr, name.len);
    if (place == COUNT) return spout_fail("unknown setting `%.*s`", (int)name.len, (const char *)name.ptr);
    free(values[place]);
    values[place] = sound(malloc(value.len + 1));
    memcpy(values[place], value.ptr, value.len);
    values[place][value.len] = 0;
  }
  for (size_t at = 0; at < COUNT; at++)
    if (values[at] == NULL) return spout_fail("missing setting `%s`", DECLARED[at].name);
  return true;
}

const char *spout_setting(const char *name) {
  const char *value = values[place_of(name, strlen(name))];
  return value ? value : "";
}

static void number_wanted(const char *name, const char *text, const char *end) {
  if (end == text || *end) spout_fail("setting `%s` is `%s`: it must be a number", name, text);
}

int64_t spout_setting_int(const char *name) {
  const char *text = spout_setting(name);
  char *end;
  int64_t value = strtoll(text, &end, 10);
  number_wanted(name, text, end);
  return value;
}

double spout_setting_float(const char *name) {
  const char *text = spout_setting(name);
  char *end;
  double value = strtod(text, &end);
  number_wanted(name, text, end);
  return value;
}

bool spout_setting_bool(const char *name) {
  const char *text = spout_setting(name);
  bool is = strcmp(text, "true") == 0;
  if (!is && strcmp(text, "false")) spout_fail("setting `%s` is `%s`: it must be true or false", name, text);
  return is;
}

void spout_offer(exports_spout_plugin_about_list_offer_t *offers, const char *interface) {
  offers->len = 1;
  offers->ptr = sound(malloc(sizeof *offers->ptr));
  offers->ptr[0] = (exports_spout_plugin_about_offer_t){
      .interface = spout_owned(interface),
      .name = spout_owned(SPOUT_NAME),
      .summary = spout_owned(SPOUT_SUMMARY),
      .settings_schema = spout_owned(SPOUT_SCHEMA),
  };
}

/* A column that is being made, in Arrow's layout. */
struct spout_made {
  uint8_t *valid, *data;
  int32_t *bounds; /* Of texts: where each ends, from nought. */
  size_t bytes, room, set;
};

static bool is_text(spout_type type) { return type == SPOUT_UTF8 || type == SPOUT_BINARY; }

static size_t width(spout_type type) { return type == SPOUT_BOOL || is_text(type) ? 0 : 8; }

void spout_out_begin(spout_out *out) {
  out->rows = out->columns = 0;
  while (spout_columns[out->columns].name) out->columns++;
  out->made = sound(calloc(out->columns + 1, sizeof *out->made));
}

/* Room for so many bytes of values. */
static void grow(struct spout_made *made, size_t bytes) {
  if (bytes <= made->room) return;
  size_t room = made->room ? made->room : 256;
  while (room < bytes) room *= 2;
  made->data = sound(realloc(made->data, room));
  memset(made->data + made->room, 0, room - made->room);
  made->room = room;
}

void spout_row(spout_out *out) {
  size_t row = out->rows++;
  for (size_t column = 0; column < out->columns; column++) {
    struct spout_made *made = &out->made[column];
    spout_type type = spout_columns[column].type;
    if (row % 1024 == 0) {
      made->valid = sound(realloc(made->valid, (row + 1024) / 8));
      memset(made->valid + row / 8, 0, 128);
      if (is_text(type)) made->bounds = sound(realloc(made->bounds, (row + 1025) * sizeof *made->bounds));
    }
    if (is_text(type)) {
      made->bounds[0] = 0;
      made->bounds[row + 1] = (int32_t)made->bytes;
    } else {
      made->bytes = type == SPOUT_BOOL ? row / 8 + 1 : (row + 1) * width(type);
      grow(made, made->bytes);
    }
  }
}

/* The column, if there is a row and no value yet. */
static struct spout_made *put(spout_out *out, size_t column) {
  if (out->rows == 0 || column >= out->columns) abort();
  struct spout_made *made = &out->made[column];
  size_t row = out->rows - 1;
  if (!(made->valid[row / 8] >> row % 8 & 1)) made->set++;
  made->valid[row / 8] |= (uint8_t)(1 << row % 8);
  return made;
}

void spout_put_int(spout_out *out, size_t column, int64_t value) {
  memcpy(put(out, column)->data + (out->rows - 1) * 8, &value, 8);
}

void spout_put_float(spout_out *out, size_t column, double value) {
  memcpy(put(out, column)->data + (out->rows - 1) * 8, &value, 8);
}

void spout_put_bool(spout_out *out, size_t column, bool value) {
  struct spout_made *made = put(out, column);
  size_t row = out->rows - 1;
  uint8_t bit = (uint8_t)(1 << row % 8);
  made->data[row / 8] = (uint8_t)(value ? made->data[row / 8] | bit : made->data[row / 8] & ~bit);
}

/* The first byte that is not of UTF-8, or `length`. */
static size_t wrong_at(const uint8_t *text, size_t length) {
  size_t at = 0;
  while (at < length) {
    uint8_t first = text[at];
    size_t more = first < 0x80 ? 0 : first < 0xc2 ? 4 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 4;
    if (more == 4 || more >= length - at) return at;
    uint8_t second = more ? text[at + 1] : 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80, high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (more && (second < low || second > high)) return at;
    for (size_t next = 2; next <= more; next++)
      if ((text[at + next] & 0xc0) != 0x80) return at;
    at += more + 1;
  }
  return length;
}

void spout_put_text(spout_out *out, size_t column, const char *text, size_t length) {
  struct spout_made *made = put(out, column);
  size_t wrong = spout_columns[column].type == SPOUT_UTF8 ? wrong_at((const uint8_t *)text, length) : length;
  if (wrong < length) spout_fail("column `%s`: byte %zu is not UTF-8", spout_columns[column].name, wrong);
  made->bytes = (size_t)made->bounds[out->rows - 1]; /* A second text replaces the first. */
  grow(made, made->bytes + length);
  memcpy(made->data + made->bytes, text, length);
  made->bytes += length;
  made->bounds[out->rows] = (int32_t)made->bytes;
}

void spout_out_cut(spout_out *out, size_t rows) {
  for (size_t column = 0; column < out->columns; column++) {
    struct spout_made *made = &out->made[column];
    spout_type type = spout_columns[column].type;
    for (size_t row = rows; row < out->rows; row++) {
      uint8_t bit = (uint8_t)(1 << row % 8);
      if (made->valid[row / 8] & bit) made->set--;
      made->valid[row / 8] &= (uint8_t)~bit;
      if (type == SPOUT_BOOL) made->data[row / 8] &= (uint8_t)~bit;
    }
    if (out->rows > rows) made->bytes = is_text(type) ? (size_t)made->bounds[rows] : type == SPOUT_BOOL ? (rows + 7) / 8 : rows * 8;
  }
  out->rows = rows;
}

void spout_out_schema(spout_plugin_types_schema_t *schema) {
  static const uint8_t TAGS[] = {
      [SPOUT_INT64] = SPOUT_PLUGIN_TYPES_DATA_TYPE_INT64,   [SPOUT_FLOAT64] = SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT64,
      [SPOUT_BOOL] = SPOUT_PLUGIN_TYPES_DATA_TYPE_BOOLEAN,  [SPOUT_UTF8] = SPOUT_PLUGIN_TYPES_DATA_TYPE_UTF8,
      [SPOUT_BINARY] = SPOUT_PLUGIN_TYPES_DATA_TYPE_BINARY, [SPOUT_TIMESTAMP_MS] = SPOUT_PLUGIN_TYPES_DATA_TYPE_TIMESTAMP,
  };
  schema->len = 0;
  while (spout_columns[schema->len].name) schema->len++;
  schema->ptr = sound(calloc(schema->len + 1, sizeof *schema->ptr));
  for (size_t at = 0; at < schema->len; at++) {
    spout_plugin_types_field_t *field = &schema->ptr[at];
    field->name = spout_owned(spout_columns[at].name);
    field->nullable = true;
    field->type.tag = TAGS[spout_columns[at].type];
    if (spout_columns[at].type == SPOUT_TIMESTAMP_MS) {
      field->type.val.timestamp.f0 = SPOUT_PLUGIN_TYPES_TIME_UNIT_MILLISECOND;
      field->type.val.timestamp.f1.is_some = true;
      field->type.val.timestamp.f1.val = spout_owned("UTC");
    }
  }
}

void spout_out_parts(spout_out *out, spout_plugin_types_parts_t *parts) {
  size_t buffers = 0;
  parts->rows = (uint32_t)out->rows;
  parts->nodes.len = out->columns;
  parts->nodes.ptr = sound(calloc(out->columns + 1, sizeof *parts->nodes.ptr));
  parts->buffers.ptr = sound(calloc(3 * out->columns + 1, sizeof *parts->buffers.ptr));
  for (size_t column = 0; column < out->columns; column++) {
    struct spout_made *made = &out->made[column];
    bool text = is_text(spout_columns[column].type);
    parts->nodes.ptr[column] = (spout_plugin_types_array_node_t){
        .length = (uint32_t)out->rows, .nulls = (uint32_t)(out->rows - made->set)};
    if (made->set == out->rows) {
      free(made->valid);
      made->valid = NULL;
    }
    parts->buffers.ptr[buffers++] =
        (plugin_list_u8_t){.ptr = made->valid, .len = made->valid ? (out->rows + 7) / 8 : 0};
    if (text) {
      if (out->rows == 0) made->bounds = sound(calloc(1, sizeof *made->bounds));
      parts->buffers.ptr[buffers++] = (plugin_list_u8_t){.ptr = (uint8_t *)made->bounds, .len = (out->rows + 1) * 4};
    }
    if (made->bytes == 0) {
      free(made->data);
      made->data = NULL;
    }
    parts->buffers.ptr[buffers++] = (plugin_list_u8_t){.ptr = made->data, .len = made->bytes};
  }
  parts->buffers.len = buffers;
  free(out->made);
  out->made = NULL;
}
