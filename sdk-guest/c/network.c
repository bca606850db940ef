/* Connections of the host, and secrets that the host writes to them, for sources and streams. */
#include <stdlib.h>
#include <string.h>

#include "messages.h"

struct spout_connection {
  spout_plugin_network_own_connection_t own;
};

static spout_plugin_network_borrow_connection_t borrowed(const spout_connection *connection) {
  return spout_plugin_network_borrow_connection(connection->own);
}

/* Says why: what no other try mends stops the pipeline, anything else is tried again. */
static void told(spout_plugin_network_failure_t *failure, const char *what) {
  int length = (int)failure->message.len;
  const char *message = (const char *)failure->message.ptr;
  switch (failure->cause) {
    case SPOUT_PLUGIN_NETWORK_CAUSE_DENIED:
    case SPOUT_PLUGIN_NETWORK_CAUSE_INVALID:
    case SPOUT_PLUGIN_NETWORK_CAUSE_TLS: spout_fail("%s: %.*s", what, length, message); break;
    default: spout_retry("%s: %.*s", what, length, message);
  }
  spout_plugin_network_failure_free(failure);
}

spout_connection *spout_connect(const char *to, uint32_t within_ms) {
  plugin_string_t name = {(uint8_t *)to, strlen(to)};
  spout_plugin_network_own_connection_t own;
  spout_plugin_network_failure_t failure;
  if (!spout_plugin_network_static_connection_open(&name, SPOUT_PLUGIN_NETWORK_BEGIN_AS_GRANTED, within_ms, &own, &failure)) {
    told(&failure, "connecting");
    return NULL;
  }
  spout_connection *connection = malloc(sizeof *connection);
  if (connection == NULL) abort();
  connection->own = own;
  return connection;
}

bool spout_is_secure(const spout_connection *connection) { return spout_plugin_network_method_connection_secure(borrowed(connection)); }

bool spout_send(spout_connection *connection, const void *bytes, size_t length, uint32_t within_ms) {
  const uint8_t *rest = bytes;
  while (length > 0) {
    plugin_list_u8_t piece = {(uint8_t *)rest, length < 1 << 20 ? length : 1 << 20};
    uint32_t taken = 0;
    spout_plugin_network_failure_t failure;
    if (!spout_plugin_network_method_connection_write(borrowed(connection), &piece, within_ms, &taken, &failure)) {
      told(&failure, "sending");
      return false;
    }
    rest += taken;
    length -= taken;
  }
  return true;
}

int32_t spout_receive(spout_connection *connection, void *into, size_t room, uint32_t within_ms) {
  plugin_list_u8_t bytes;
  spout_plugin_network_failure_t failure;
  uint32_t most = room < 1 << 20 ? (uint32_t)room : 1 << 20;
  if (!spout_plugin_network_method_connection_read(borrowed(connection), most, within_ms, &bytes, &failure)) {
    bool late = failure.cause == SPOUT_PLUGIN_NETWORK_CAUSE_TIMED_OUT;
    if (late)
      spout_plugin_network_failure_free(&failure);
    else
      told(&failure, "receiving");
    return late ? SPOUT_NOTHING_YET : SPOUT_BROKEN;
  }
  int32_t count = (int32_t)(bytes.len < room ? bytes.len : room);
  if (count) memcpy(into, bytes.ptr, count);
  plugin_list_u8_free(&bytes);
  return count;
}

bool spout_send_secret(spout_connection *connection, const char *name, uint32_t within_ms) {
  plugin_string_t text = {(uint8_t *)name, strlen(name)};
  spout_plugin_secrets_own_secret_t secret;
  spout_plugin_network_failure_t failure;
  if (!spout_plugin_secrets_static_secret_named(&text, &secret, &failure)) {
    told(&failure, "the secret");
    return false;
  }
  spout_plugin_secrets_form_t form = {.tag = SPOUT_PLUGIN_SECRETS_FORM_RAW};
  bool sent = spout_plugin_secrets_method_secret_write(
      spout_plugin_secrets_borrow_secret(secret), borrowed(connection), &form, within_ms, &failure);
  if (!sent) told(&failure, "sending the secret");
  spout_plugin_secrets_secret_drop_own(secret);
  return sent;
}

void spout_close(spout_connection *connection) {
  if (connection == NULL) return;
  spout_plugin_network_connection_drop_own(connection->own);
  free(connection);
}
