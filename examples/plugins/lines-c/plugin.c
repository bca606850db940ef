/* Lines of a server: it is told a password, which only the host sees, and the number of the line to begin with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spout.h"

enum { PATIENCE_MS = 5000, LINE = 1 << 16 };

typedef struct {
  unsigned long long next; /* The number of the line that comes next. */
  spout_connection *server;
  size_t held; /* Bytes of `buffer` that are no whole line yet. */
  bool ended; /* The server has said all. */
  char buffer[LINE], checkpoint[24];
} lines;

void *spout_open(const void *state, size_t length) {
  lines *self = calloc(1, sizeof *self);
  if (self == NULL) return spout_fail("no memory");
  char text[24] = "";
  if (length < sizeof text) memcpy(text, state, length);
  self->next = strtoull(text, NULL, 10);
  return self;
}

/* What goes wrong closes the connection: the next call begins a new one, with the line that comes next. */
static spout_progress lost(lines *self) {
  spout_close(self->server);
  self->server = NULL;
  self->held = 0;
  return SPOUT_FAILED;
}

static bool connected(lines *self) {
  if (self->server) return true;
  char from[32];
  int length = snprintf(from, sizeof from, "\n%llu\n", self->next);
  self->server = spout_connect("server", PATIENCE_MS);
  return self->server && spout_send_secret(self->server, "password", PATIENCE_MS) &&
         spout_send(self->server, from, (size_t)length, PATIENCE_MS);
}

spout_progress spout_next(void *context, spout_limits limits, spout_messages *messages) {
  lines *self = context;
  if (self->ended && !memchr(self->buffer, '\n', self->held)) return SPOUT_ENDED;
  int32_t came = 0;
  if (!self->ended) {
    if (!connected(self)) return lost(self);
    /* What is held is never more than what a call may return. */
    size_t room = LINE - self->held;
    if (room > limits.bytes) room = limits.bytes;
    came = spout_receive(self->server, self->buffer + self->held, room, 100);
    if (came == SPOUT_BROKEN) return lost(self);
    self->ended = came == 0;
    if (came == SPOUT_NOTHING_YET) came = 0;
  }
  char *at = self->buffer, *end = at + self->held + came, *stop;
  for (size_t count = 0; count < limits.messages && (stop = memchr(at, '\n', (size_t)(end - at))); count++, at = stop + 1)
    spout_message(messages, self->next++, at, (size_t)(stop - at));
  self->held = (size_t)(end - at);
  memmove(self->buffer, at, self->held);
  if (self->held == LINE) {
    spout_fail("a line of more than %d bytes", LINE);
    return lost(self);
  }
  return came > 0 || self->ended || memchr(self->buffer, '\n', self->held) ? SPOUT_MORE : SPOUT_IDLE;
}

spout_text spout_checkpoint(void *context) {
  lines *self = context;
  int length = snprintf(self->checkpoint, sizeof self->checkpoint, "%llu", self->next);
  return (spout_text){self->checkpoint, (size_t)length};
}
