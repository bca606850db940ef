/* Imports the interface `state`. */
#include <stdlib.h>
#include <string.h>

#include "boundary.h"
#include "keyed.h"

/* What the last call returned. */
static spout_plugin_state_entries_t held;

void spout_state_release(void) {
  spout_plugin_state_entries_free(&held);
  memset(&held, 0, sizeof held);
}

/* `texts`, or those of them whose value is there, or is not if they are `removed`, as Arrow has them. */
static spout_plugin_types_blobs_t blobs(const spout_text *texts, const spout_text *values, bool removed, size_t count) {
  spout_plugin_types_blobs_t blobs = {{calloc(count + 1, sizeof(uint32_t)), 1}, {NULL, 0}};
  size_t length = 0;
  for (size_t at = 0; at < count; at++) length += texts[at].length;
  blobs.bytes.ptr = malloc(length + 1);
  if (blobs.bounds.ptr == NULL || blobs.bytes.ptr == NULL) abort();
  for (size_t at = 0; at < count; at++) {
    if (values && (values[at].at == NULL) != removed) continue;
    if (texts[at].length) memcpy(blobs.bytes.ptr + blobs.bytes.len, texts[at].at, texts[at].length);
    blobs.bytes.len += texts[at].length;
    blobs.bounds.ptr[blobs.bounds.len++] = (uint32_t)blobs.bytes.len;
  }
  if (blobs.bytes.len == 0) free(blobs.bytes.ptr); /* What is empty is not freed later. */
  return blobs;
}

static spout_text text_of(const spout_plugin_types_blobs_t *blobs, size_t at) {
  uint32_t from = blobs->bounds.ptr[at], to = blobs->bounds.ptr[at + 1];
  return (spout_text){(const char *)blobs->bytes.ptr + from, to - from};
}

void spout_state_get(const spout_text *keys, spout_text *values, size_t count) {
  spout_state_release();
  if (count == 0) return;
  spout_plugin_types_blobs_t wanted = blobs(keys, NULL, false, count);
  spout_plugin_state_found_t found;
  spout_plugin_state_get(&wanted, &found);
  spout_plugin_types_blobs_free(&wanted);
  held.values = found.values;
  for (size_t at = 0; at < count; at++) values[at] = text_of(&held.values, at);
  for (size_t at = 0; at < found.missing.len; at++) values[found.missing.ptr[at]] = (spout_text){NULL, 0};
  plugin_list_u32_free(&found.missing);
}

void spout_state_put(const spout_text *keys, const spout_text *values, size_t count) {
  spout_plugin_state_entries_t set = {blobs(keys, values, false, count), blobs(values, values, false, count)};
  spout_plugin_types_blobs_t gone = blobs(keys, values, true, count);
  if (set.keys.bounds.len > 1) spout_plugin_state_put(&set);
  if (gone.bounds.len > 1) spout_plugin_state_delete(&gone);
  spout_plugin_state_entries_free(&set);
  spout_plugin_types_blobs_free(&gone);
  spout_state_release();
}

size_t spout_state_scan(spout_text prefix, spout_text after, spout_text *keys, spout_text *values, size_t room) {
  plugin_string_t before = spout_owned_bytes(after.at, after.length); /* `after` may be of the last answer. */
  spout_state_release();
  plugin_list_u8_t first = {(uint8_t *)prefix.at, prefix.length}, last = {before.ptr, before.len};
  spout_plugin_state_scan(&first, after.at ? &last : NULL, (uint32_t)room, &held);
  plugin_string_free(&before);
  size_t count = held.keys.bounds.len ? held.keys.bounds.len - 1 : 0;
  for (size_t at = 0; at < count; at++) keys[at] = text_of(&held.keys, at), values[at] = text_of(&held.values, at);
  return count;
}
