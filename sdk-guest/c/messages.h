/* Messages that a source makes, as its glue sees them. */
#ifndef SPOUT_MESSAGES_H
#define SPOUT_MESSAGES_H

#include "boundary.h"

struct spout_messages {
  size_t count, room, keys_room, bytes_room, headers_room;
  bool keyed, timed, placed;
  uint32_t *bounds, *key_bounds, *partitions;
  uint64_t *offsets;
  int64_t *times;
  plugin_list_u8_t bytes, keys;
  spout_plugin_types_list_header_t headers;
};

void spout_messages_free(spout_messages *messages);
/* The messages, and nothing is left in them. */
void spout_messages_move(spout_messages *messages, spout_plugin_types_messages_t *to);
/* What the call that is under way failed with: to be repeated after spout_retry, else fatal. */
void spout_source_error(spout_plugin_types_error_t *error);
/* The topic is what spout_topic returns from here on. */
void spout_take_topic(plugin_string_t *topic);

#endif
