/* Exports the interface `handler`. */
#include <stdlib.h>
#include <string.h>

#include "boundary.h"
#include "kernels.h"
#include "keyed.h"

struct exports_spout_plugin_handler_node_t {
  void *self;
  bool told;
};

struct spout_column {
  const char *name;
  uint8_t tag;
  spout_plugin_types_parts_t parts;
  struct spout_column *next;
};

struct spout_rows {
  spout_plugin_data_borrow_batch_t batch;
  size_t count;
  spout_plugin_types_schema_t schema;
  struct spout_column *columns;
  uint8_t answer;
  plugin_list_u8_t mask;
  const spout_held *selected;
  exports_spout_plugin_handler_list_named_column_t held;
};

__attribute__((weak)) bool spout_finish(void *self, spout_out *out) {
  (void)self, (void)out;
  return true;
}

__attribute__((weak)) spout_text spout_snapshot(void *self) {
  (void)self;
  return (spout_text){NULL, 0};
}

__attribute__((weak)) bool spout_tick(void *self, int64_t watermark_ms, spout_out *out, int64_t *next_ms) {
  (void)self, (void)watermark_ms, (void)out, (void)next_ms;
  return true;
}

size_t spout_count(const spout_rows *rows) { return rows->count; }

/* Bytes of a value of the type; 1 for bits, 2 for texts, 3 for large ones, 0 for what this library does not read. */
static int layout(uint8_t tag) {
  switch (tag) {
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_BOOLEAN: return 1;
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UTF8:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_BINARY: return 2;
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_LARGE_UTF8:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_LARGE_BINARY: return 3;
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT8:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT8:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT16:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT16:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT64:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT64:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT64:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_DATE32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_DATE64:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_TIME32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_TIME64:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_TIMESTAMP:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_DURATION: return 8;
    default: return 0;
  }
}

/* The place of a column, and its field; NULL, and why, if there is none. */
static const spout_plugin_types_field_t *field_of(spout_rows *rows, const char *name, uint32_t *index) {
  if (rows->schema.ptr == NULL) spout_plugin_data_method_batch_schema(rows->batch, &rows->schema);
  *index = 0;
  /* Fields are written in pre-order: the children of a column follow it. */
  for (size_t at = 0, open = 0; at < rows->schema.len; at++) {
    const spout_plugin_types_field_t *field = &rows->schema.ptr[at];
    bool top = open == 0;
    open += field->children - (top ? 0 : 1);
    if (!top) continue;
    if (field->name.len == strlen(name) && memcmp(field->name.ptr, name, field->name.len) == 0) return field;
    (*index)++;
  }
  return spout_fail("there is no column `%s`", name);
}

const spout_column *spout_column_of(spout_rows *rows, const char *name) {
  for (struct spout_column *known = rows->columns; known; known = known->next)
    if (strcmp(known->name, name) == 0) return known;
  uint32_t index;
  const spout_plugin_types_field_t *field = field_of(rows, name, &index);
  if (field == NULL) return NULL;
  if (layout(field->type.tag) == 0) return spout_fail("column `%s` is of a type that plugins in C do not read", name);
  struct spout_column *column = calloc(1, sizeof *column);
  if (column == NULL) abort();
  plugin_list_u32_t wanted = {&index, 1};
  spout_plugin_data_method_batch_read(rows->batch, &wanted, &column->parts);
  column->name = name, column->tag = field->type.tag;
  column->next = rows->columns, rows->columns = column;
  return column;
}

spout_held *spout_hold(spout_rows *rows, const char *name) {
  uint32_t index;
  return field_of(rows, name, &index) ? spout_held_of(rows->batch, index) : NULL;
}

static bool bit(const uint8_t *bits, size_t at) { return bits[at / 8] >> at % 8 & 1; }

bool spout_is_null(const spout_column *column, size_t row) {
  plugin_list_u8_t valid = column->parts.buffers.ptr[0];
  return valid.len > 0 && !bit(valid.ptr, row);
}

#define AT(type) (((const type *)column->parts.buffers.ptr[1].ptr)[row])

int64_t spout_int(const spout_column *column, size_t row) {
  switch (column->tag) {
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_BOOLEAN: return bit(column->parts.buffers.ptr[1].ptr, row);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT8: return AT(int8_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT8: return AT(uint8_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT16: return AT(int16_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT16: return AT(uint16_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT32: return AT(uint32_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_INT32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_DATE32:
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_TIME32: return AT(int32_t);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT32: return (int64_t)AT(float);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT64: return (int64_t)AT(double);
    default: return layout(column->tag) == 8 ? AT(int64_t) : 0;
  }
}

double spout_float(const spout_column *column, size_t row) {
  switch (column->tag) {
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT32: return AT(float);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_FLOAT64: return AT(double);
    case SPOUT_PLUGIN_TYPES_DATA_TYPE_UINT64: return (double)AT(uint64_t);
    default: return (double)spout_int(column, row);
  }
}

spout_text spout_text_of(const spout_column *column, size_t row) {
  const char *bytes = (const char *)column->parts.buffers.ptr[column->parts.buffers.len - 1].ptr;
  switch (layout(column->tag)) {
    case 2: return (spout_text){bytes + AT(int32_t), (size_t)(*(&AT(int32_t) + 1) - AT(int32_t))};
    case 3: return (spout_text){bytes + AT(int64_t), (size_t)(*(&AT(int64_t) + 1) - AT(int64_t))};
    default: return (spout_text){"", 0};
  }
}

void spout_keep(spout_rows *rows, size_t row) {
  rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_MASKED;
  if (row < rows->count) rows->mask.ptr[row / 8] |= (uint8_t)(1 << row % 8);
}

void spout_keep_all(spout_rows *rows) { rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_ALL; }

void spout_add_columns(spout_rows *rows) { rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_WITH_COLUMNS; }

void spout_new_rows(spout_rows *rows) { rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_FRESH; }

bool spout_select(spout_rows *rows, const spout_held *column) {
  rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_SELECTED;
  rows->selected = column;
  return column != NULL;
}

bool spout_add_held(spout_rows *rows, const char *name, const spout_held *column) {
  if (column == NULL) return false;
  rows->answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_WITH_HELD;
  exports_spout_plugin_handler_list_named_column_t *held = &rows->held;
  held->ptr = realloc(held->ptr, (held->len + 1) * sizeof *held->ptr);
  if (held->ptr == NULL) abort();
  held->ptr[held->len++] = (exports_spout_plugin_handler_named_column_t){spout_owned(name), spout_held_give(column)};
  return true;
}

static void table(exports_spout_plugin_handler_node_t *node, spout_out *out, exports_spout_plugin_handler_table_t *table) {
  table->schema.is_some = !node->told;
  if (!node->told) spout_out_schema(&table->schema.val);
  node->told = true;
  spout_out_parts(out, &table->batch);
}

/* Frees what was made and is not handed over. */
static void drop(spout_out *out) {
  spout_plugin_types_parts_t parts = {0};
  spout_out_parts(out, &parts);
  spout_plugin_types_parts_free(&parts);
}

void exports_spout_plugin_about_describe(exports_spout_plugin_about_list_offer_t *ret) { spout_offer(ret, "handler"); }

void exports_spout_plugin_handler_node_destructor(exports_spout_plugin_handler_node_t *rep) { free(rep); }

bool exports_spout_plugin_handler_static_node_open(plugin_string_t *name, exports_spout_plugin_handler_settings_t *settings,
    plugin_list_u8_t *maybe_state, exports_spout_plugin_handler_own_node_t *ret, exports_spout_plugin_handler_error_t *err) {
  exports_spout_plugin_handler_node_t *node = calloc(1, sizeof *node);
  bool sound = node && spout_take_settings(settings);
  spout_plugin_types_settings_free(settings);
  plugin_string_free(name);
  if (sound) node->self = spout_open(maybe_state ? maybe_state->ptr : NULL, maybe_state ? maybe_state->len : 0);
  if (maybe_state) plugin_list_u8_free(maybe_state);
  if (!sound || spout_failure[0]) {
    spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_INVALID_CONFIG, "settings");
    return false;
  }
  *ret = exports_spout_plugin_handler_node_new(node);
  return true;
}

bool exports_spout_plugin_handler_method_node_output(exports_spout_plugin_handler_borrow_node_t self,
    exports_spout_plugin_handler_borrow_batch_t input, exports_spout_plugin_handler_option_schema_t *ret,
    exports_spout_plugin_handler_error_t *err) {
  (void)self, (void)err;
  spout_plugin_data_batch_drop_borrow(input);
  ret->is_some = false;
  return true;
}

bool exports_spout_plugin_handler_method_node_process(exports_spout_plugin_handler_borrow_node_t self,
    exports_spout_plugin_handler_borrow_batch_t input, exports_spout_plugin_handler_option_rows_t *ret,
    exports_spout_plugin_handler_error_t *err) {
  spout_rows rows = {.batch = input, .count = spout_plugin_data_method_batch_rows(input)};
  rows.answer = EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_MASKED;
  rows.mask.len = (rows.count + 7) / 8;
  rows.mask.ptr = calloc(rows.mask.len + 1, 1);
  if (rows.mask.ptr == NULL) abort();
  spout_out out;
  spout_out_begin(&out);
  bool sound = spout_process(self->self, &rows, &out) && !spout_failure[0];
  while (rows.columns) {
    struct spout_column *column = rows.columns;
    rows.columns = column->next;
    spout_plugin_types_parts_free(&column->parts);
    free(column);
  }
  if (rows.schema.ptr) spout_plugin_types_schema_free(&rows.schema);
  spout_plugin_data_batch_drop_borrow(input);
  ret->is_some = true;
  ret->val.tag = rows.answer;
  bool masked = sound && rows.answer == EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_MASKED;
  bool held = sound && rows.answer == EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_WITH_HELD;
  bool made = sound && (rows.answer == EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_WITH_COLUMNS || rows.answer == EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_FRESH);
  if (masked)
    ret->val.val.masked = rows.mask;
  else
    free(rows.mask.ptr);
  if (held)
    ret->val.val.with_held = rows.held;
  else
    exports_spout_plugin_handler_list_named_column_free(&rows.held);
  if (made)
    table(self, &out, &ret->val.val.fresh);
  else
    drop(&out);
  if (sound && rows.answer == EXPORTS_SPOUT_PLUGIN_HANDLER_ROWS_SELECTED) ret->val.val.selected = spout_held_give(rows.selected);
  spout_state_release();
  if (!sound) spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_FATAL, spout_held_code("handler"));
  spout_held_release();
  return sound;
}

bool exports_spout_plugin_handler_method_node_tick(exports_spout_plugin_handler_borrow_node_t self, int64_t watermark_ms,
    exports_spout_plugin_handler_ticked_t *ret, exports_spout_plugin_handler_error_t *err) {
  memset(ret, 0, sizeof *ret);
  spout_out out;
  spout_out_begin(&out);
  ret->next_ms.val = INT64_MAX;
  bool sound = spout_tick(self->self, watermark_ms, &out, &ret->next_ms.val) && !spout_failure[0];
  ret->next_ms.is_some = ret->next_ms.val != INT64_MAX;
  ret->rows.is_some = sound && out.rows > 0;
  if (ret->rows.is_some)
    table(self, &out, &ret->rows.val);
  else
    drop(&out);
  spout_state_release();
  if (!sound) spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_FATAL, "handler");
  return sound;
}

bool exports_spout_plugin_handler_method_node_finish(exports_spout_plugin_handler_borrow_node_t self,
    exports_spout_plugin_handler_option_table_t *ret, exports_spout_plugin_handler_error_t *err) {
  spout_out out;
  spout_out_begin(&out);
  bool sound = spout_finish(self->self, &out) && !spout_failure[0];
  ret->is_some = sound && out.rows > 0;
  if (ret->is_some)
    table(self, &out, &ret->val);
  else
    drop(&out);
  spout_state_release();
  if (!sound) spout_error(err, SPOUT_PLUGIN_TYPES_ERROR_FATAL, "handler");
  return sound;
}

bool exports_spout_plugin_handler_method_node_snapshot(exports_spout_plugin_handler_borrow_node_t self,
    plugin_list_u8_t *ret, exports_spout_plugin_handler_error_t *err) {
  (void)err;
  spout_text state = spout_snapshot(self->self);
  plugin_string_t owned = spout_owned_bytes(state.at, state.length);
  *ret = (plugin_list_u8_t){owned.ptr, owned.len};
  return true;
}
