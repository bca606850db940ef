/* What both kinds of sources have in common: messages, the topic, and errors that pass. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "messages.h"

static char *topic;
static bool passing;

void spout_take_topic(plugin_string_t *told) {
  free(topic);
  topic = malloc(told->len + 1);
  if (topic == NULL) abort();
  if (told->len) memcpy(topic, told->ptr, told->len);
  topic[told->len] = 0;
  plugin_string_free(told);
}

const char *spout_topic(void) { return topic ? topic : ""; }

spout_progress spout_retry(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(spout_failure, sizeof spout_failure, format, arguments);
  va_end(arguments);
  passing = true;
  return SPOUT_FAILED;
}

void spout_source_error(spout_plugin_types_error_t *error) {
  if (passing)
    spout_error(error, SPOUT_PLUGIN_TYPES_ERROR_RETRIABLE, "unavailable");
  else
    spout_error(error, SPOUT_PLUGIN_TYPES_ERROR_FATAL, "source");
  passing = false;
}

bool spout_pause(uint32_t ms) { return spout_plugin_control_pause(ms) != SPOUT_PLUGIN_CONTROL_SIGNAL_DRAIN; }

/* Room for `count` entries of `size` bytes. */
static void *grown(void *list, size_t *room, size_t count, size_t size) {
  if (count <= *room) return list;
  size_t more = *room ? *room : 256;
  while (more < count) more *= 2;
  list = realloc(list, more * size);
  if (list == NULL) abort();
  *room = more;
  return list;
}

static void add_bytes(plugin_list_u8_t *list, size_t *room, const void *bytes, size_t length) {
  list->ptr = grown(list->ptr, room, list->len + length, 1);
  if (length) memcpy(list->ptr + list->len, bytes, length);
  list->len += length;
}

void spout_message(spout_messages *messages, uint64_t offset, const void *payload, size_t length) {
  size_t room = messages->room, at = messages->count++;
  messages->bounds = grown(messages->bounds, &room, at + 2, sizeof *messages->bounds);
  if (room != messages->room) {
    messages->key_bounds = realloc(messages->key_bounds, room * sizeof *messages->key_bounds);
    messages->partitions = realloc(messages->partitions, room * sizeof *messages->partitions);
    messages->offsets = realloc(messages->offsets, room * sizeof *messages->offsets);
    messages->times = realloc(messages->times, room * sizeof *messages->times);
    if (!messages->key_bounds || !messages->partitions || !messages->offsets || !messages->times) abort();
    messages->room = room;
  }
  add_bytes(&messages->bytes, &messages->bytes_room, payload, length);
  messages->bounds[0] = messages->key_bounds[0] = 0;
  messages->bounds[at + 1] = (uint32_t)messages->bytes.len;
  messages->key_bounds[at + 1] = (uint32_t)messages->keys.len;
  messages->offsets[at] = offset, messages->partitions[at] = 0, messages->times[at] = INT64_MIN;
}

/* The message that was made last. */
static size_t last(const spout_messages *messages) {
  if (messages->count == 0) abort();
  return messages->count - 1;
}

void spout_message_partition(spout_messages *messages, uint32_t partition) {
  messages->partitions[last(messages)] = partition, messages->placed = true;
}

void spout_message_key(spout_messages *messages, const void *key, size_t length) {
  size_t at = last(messages);
  messages->keys.len = messages->key_bounds[at];
  add_bytes(&messages->keys, &messages->keys_room, key, length);
  messages->key_bounds[at + 1] = (uint32_t)messages->keys.len, messages->keyed = true;
}

void spout_message_time(spout_messages *messages, int64_t ms) {
  messages->times[last(messages)] = ms, messages->timed = true;
}

void spout_message_header(spout_messages *messages, const char *name, const void *value, size_t length) {
  spout_plugin_types_list_header_t *headers = &messages->headers;
  headers->ptr = grown(headers->ptr, &messages->headers_room, headers->len + 1, sizeof *headers->ptr);
  plugin_string_t owned = spout_owned_bytes(value, length);
  headers->ptr[headers->len++] = (spout_plugin_types_header_t){
      (uint32_t)last(messages), spout_owned(name), (plugin_list_u8_t){owned.ptr, owned.len}};
}

void spout_messages_free(spout_messages *messages) {
  for (size_t at = 0; at < messages->headers.len; at++) spout_plugin_types_header_free(&messages->headers.ptr[at]);
  free(messages->headers.ptr), free(messages->bounds), free(messages->key_bounds), free(messages->partitions);
  free(messages->offsets), free(messages->times), free(messages->bytes.ptr), free(messages->keys.ptr);
  memset(messages, 0, sizeof *messages);
}

/* Hands over a list, or frees it where it is empty or not wanted: what is empty is not freed later. */
#define MOVE(to, list, length, wanted) \
  do {                                 \
    if ((wanted) && (length) > 0)      \
      (to).ptr = (list), (to).len = (length); \
    else                               \
      free(list);                      \
    (list) = NULL;                     \
  } while (0)

void spout_messages_move(spout_messages *messages, spout_plugin_types_messages_t *to) {
  size_t count = messages->count;
  memset(to, 0, sizeof *to);
  MOVE(to->values.bounds, messages->bounds, count + 1, count > 0);
  MOVE(to->values.bytes, messages->bytes.ptr, messages->bytes.len, true);
  to->keys.is_some = messages->keyed;
  MOVE(to->keys.val.bounds, messages->key_bounds, count + 1, messages->keyed);
  MOVE(to->keys.val.bytes, messages->keys.ptr, messages->keys.len, messages->keyed);
  MOVE(to->offsets, messages->offsets, count, true);
  MOVE(to->partitions, messages->partitions, count, messages->placed);
  MOVE(to->timestamps_ms, messages->times, count, messages->timed);
  MOVE(to->headers, messages->headers.ptr, messages->headers.len, true);
  memset(messages, 0, sizeof *messages);
}
