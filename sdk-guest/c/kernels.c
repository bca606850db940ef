/* Imports the interface `kernels`. */
#include "kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct spout_held {
  spout_plugin_kernels_own_column_t own;
  spout_held *next;
};

/* Those of the call that is under way. */
static spout_held *all;
static char code[32];

typedef spout_plugin_kernels_own_column_t own_column;
typedef spout_plugin_kernels_borrow_column_t borrowed;
typedef spout_plugin_kernels_refusal_t refusal;

static spout_held *kept(own_column own) {
  spout_held *column = malloc(sizeof *column);
  if (column == NULL) abort();
  *column = (spout_held){own, all};
  all = column;
  return column;
}

static spout_held *refused(refusal *why) {
  snprintf(code, sizeof code, "%.*s", (int)why->code.len, (const char *)why->code.ptr);
  spout_fail("%.*s", (int)why->message.len, (const char *)why->message.ptr);
  spout_plugin_kernels_refusal_free(why);
  return NULL;
}

static borrowed lent(const spout_held *column) { return spout_plugin_kernels_borrow_column(column->own); }

/* What a kernel made of a column, unless one before it has failed. */
#define MADE(given, call)                      \
  do {                                         \
    own_column made;                           \
    refusal why;                               \
    if (!(given)) return NULL;                 \
    return (call) ? kept(made) : refused(&why); \
  } while (0)

spout_held *spout_held_of(spout_plugin_data_borrow_batch_t batch, uint32_t index) {
  return kept(spout_plugin_kernels_static_column_of(batch, index));
}

own_column spout_held_give(const spout_held *column) { return spout_plugin_kernels_method_column_share(lent(column)); }

void spout_held_release(void) {
  while (all) {
    spout_held *column = all;
    all = column->next;
    spout_plugin_kernels_column_drop_own(column->own);
    free(column);
  }
  code[0] = 0;
}

const char *spout_held_code(const char *otherwise) { return code[0] ? code : otherwise; }

static spout_held *compared(const spout_held *column, spout_comparison how, spout_plugin_kernels_value_t than) {
  MADE(column, spout_plugin_kernels_method_column_compare(lent(column), how, &than, &made, &why));
}

spout_held *spout_compare_bool(const spout_held *column, spout_comparison how, bool than) {
  return compared(column, how, (spout_plugin_kernels_value_t){SPOUT_PLUGIN_KERNELS_VALUE_BOOLEAN, {.boolean = than}});
}

spout_held *spout_compare_int(const spout_held *column, spout_comparison how, int64_t than) {
  return compared(column, how, (spout_plugin_kernels_value_t){SPOUT_PLUGIN_KERNELS_VALUE_INT, {.int_ = than}});
}

spout_held *spout_compare_float(const spout_held *column, spout_comparison how, double than) {
  return compared(column, how, (spout_plugin_kernels_value_t){SPOUT_PLUGIN_KERNELS_VALUE_FLOAT, {.float_ = than}});
}

spout_held *spout_compare_text(const spout_held *column, spout_comparison how, spout_text than) {
  plugin_string_t text = {(uint8_t *)than.at, than.length};
  return compared(column, how, (spout_plugin_kernels_value_t){SPOUT_PLUGIN_KERNELS_VALUE_TEXT, {.text = text}});
}

spout_held *spout_compare_bytes(const spout_held *column, spout_comparison how, spout_text than) {
  plugin_list_u8_t bytes = {(uint8_t *)than.at, than.length};
  return compared(column, how, (spout_plugin_kernels_value_t){SPOUT_PLUGIN_KERNELS_VALUE_BYTES, {.bytes = bytes}});
}

spout_held *spout_compare_columns(const spout_held *column, spout_comparison how, const spout_held *other) {
  MADE(column && other, spout_plugin_kernels_method_column_compare_column(lent(column), how, lent(other), &made, &why));
}

spout_held *spout_nulls(const spout_held *column) {
  MADE(column, spout_plugin_kernels_method_column_is_null(lent(column), &made, &why));
}

spout_held *spout_both(const spout_held *column, const spout_held *other) {
  MADE(column && other, spout_plugin_kernels_method_column_both(lent(column), lent(other), &made, &why));
}

spout_held *spout_either(const spout_held *column, const spout_held *other) {
  MADE(column && other, spout_plugin_kernels_method_column_either(lent(column), lent(other), &made, &why));
}

spout_held *spout_negate(const spout_held *column) {
  MADE(column, spout_plugin_kernels_method_column_negate(lent(column), &made, &why));
}

spout_held *spout_matches(const spout_held *column, const char *pattern) {
  plugin_string_t text = {(uint8_t *)pattern, strlen(pattern)};
  MADE(column, spout_plugin_kernels_method_column_matches(lent(column), &text, &made, &why));
}

spout_held *spout_replace(const spout_held *column, const char *pattern, const char *by) {
  plugin_string_t text = {(uint8_t *)pattern, strlen(pattern)}, instead = {(uint8_t *)by, strlen(by)};
  MADE(column, spout_plugin_kernels_method_column_replace(lent(column), &text, &instead, &made, &why));
}

spout_held *spout_mask(const spout_held *column, uint32_t first, uint32_t last, uint32_t by) {
  MADE(column, spout_plugin_kernels_method_column_mask(lent(column), first, last, by, &made, &why));
}

spout_held *spout_hashed(const spout_held *column, spout_text salt) {
  plugin_list_u8_t bytes = {(uint8_t *)salt.at, salt.length};
  MADE(column, spout_plugin_kernels_method_column_hash(lent(column), &bytes, &made, &why));
}

spout_held *spout_cast(const spout_held *column, const char *to) {
  plugin_string_t text = {(uint8_t *)to, strlen(to)};
  MADE(column, spout_plugin_kernels_method_column_cast(lent(column), &text, &made, &why));
}
