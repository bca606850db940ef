/* Connections of the host, and secrets that the host writes to them or proves, for sources and streams. */
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
  spout_secret *secret = spout_secret_named(name);
  if (secret == NULL) return false;
  bool sent = spout_secret_send(secret, connection, SPOUT_SECRET_RAW, (spout_text){NULL, 0}, within_ms);
  spout_secret_drop(secret);
  return sent;
}

void spout_close(spout_connection *connection) {
  if (connection == NULL) return;
  spout_plugin_network_connection_drop_own(connection->own);
  free(connection);
}

struct spout_secret {
  spout_plugin_secrets_own_secret_t own;
};

static spout_plugin_secrets_borrow_secret_t lent(const spout_secret *secret) { return spout_plugin_secrets_borrow_secret(secret->own); }

static plugin_list_u8_t list_of(const void *bytes, size_t length) { return (plugin_list_u8_t){(uint8_t *)bytes, length}; }

static plugin_string_t string_of(const char *text) { return (plugin_string_t){(uint8_t *)text, strlen(text)}; }

static spout_plugin_secrets_form_t form_of(spout_secret_form form, spout_text before) {
  spout_plugin_secrets_form_t given = {.tag = SPOUT_PLUGIN_SECRETS_FORM_RAW};
  if (form == SPOUT_SECRET_JSON) given.tag = SPOUT_PLUGIN_SECRETS_FORM_JSON;
  if (form == SPOUT_SECRET_BASE64) {
    given.tag = SPOUT_PLUGIN_SECRETS_FORM_BASE64;
    given.val.base64 = list_of(before.at, before.length);
  }
  return given;
}

static spout_plugin_secrets_hash_t hash_of(spout_hash hash) {
  return hash == SPOUT_SHA512 ? SPOUT_PLUGIN_SECRETS_HASH_SHA512 : SPOUT_PLUGIN_SECRETS_HASH_SHA256;
}

/* At most 64 bytes, and how many. */
static size_t proof_of(plugin_list_u8_t *made, uint8_t into[64]) {
  size_t length = made->len < 64 ? made->len : 64;
  if (length) memcpy(into, made->ptr, length);
  plugin_list_u8_free(made);
  return length;
}

spout_secret *spout_secret_named(const char *name) {
  plugin_string_t text = string_of(name);
  spout_plugin_secrets_own_secret_t own;
  spout_plugin_network_failure_t failure;
  if (!spout_plugin_secrets_static_secret_named(&text, &own, &failure)) {
    told(&failure, "the secret");
    return NULL;
  }
  spout_secret *secret = malloc(sizeof *secret);
  if (secret == NULL) abort();
  secret->own = own;
  return secret;
}

void spout_secret_drop(spout_secret *secret) {
  if (secret == NULL) return;
  spout_plugin_secrets_secret_drop_own(secret->own);
  free(secret);
}

uint32_t spout_secret_length(const spout_secret *secret, spout_secret_form form, spout_text before) {
  spout_plugin_secrets_form_t given = form_of(form, before);
  return spout_plugin_secrets_method_secret_length(lent(secret), &given);
}

bool spout_secret_send(const spout_secret *secret, spout_connection *connection, spout_secret_form form, spout_text before, uint32_t within_ms) {
  spout_plugin_secrets_form_t given = form_of(form, before);
  spout_plugin_network_failure_t failure;
  bool sent = spout_plugin_secrets_method_secret_write(lent(secret), borrowed(connection), &given, within_ms, &failure);
  if (!sent) told(&failure, "sending the secret");
  return sent;
}

size_t spout_secret_hmac(const spout_secret *secret, spout_hash hash, const void *data, size_t length, uint8_t hmac[64]) {
  plugin_list_u8_t bytes = list_of(data, length), made;
  spout_plugin_secrets_method_secret_hmac(lent(secret), hash_of(hash), &bytes, &made);
  return proof_of(&made, hmac);
}

size_t spout_secret_scram(const spout_secret *secret, spout_hash hash, spout_text salt, uint32_t iterations, spout_text auth_message,
                          uint8_t proof[64], uint8_t server_signature[64]) {
  plugin_list_u8_t salted = list_of(salt.at, salt.length), message = list_of(auth_message.at, auth_message.length);
  spout_plugin_secrets_scram_t made;
  spout_plugin_network_failure_t failure;
  if (!spout_plugin_secrets_method_secret_scram(lent(secret), hash_of(hash), &salted, iterations, &message, &made, &failure)) {
    told(&failure, "the proof");
    return 0;
  }
  proof_of(&made.server_signature, server_signature);
  return proof_of(&made.proof, proof);
}

void spout_secret_sign_v4(const spout_secret *secret, const char *date, const char *region, const char *service, spout_text string_to_sign,
                          char signature[65]) {
  plugin_string_t day = string_of(date), where = string_of(region), what = string_of(service);
  plugin_string_t text = {(uint8_t *)string_to_sign.at, string_to_sign.length}, made;
  spout_plugin_secrets_method_secret_sign_v4(lent(secret), &day, &where, &what, &text, &made);
  size_t length = made.len < 64 ? made.len : 64;
  memcpy(signature, made.ptr, length);
  signature[length] = 0;
  plugin_string_free(&made);
}

char *spout_secret_reveal(const spout_secret *secret, size_t *length) {
  plugin_list_u8_t bytes;
  spout_plugin_network_failure_t failure;
  if (!spout_plugin_secrets_method_secret_reveal(lent(secret), &bytes, &failure)) {
    told(&failure, "the secret");
    return NULL;
  }
  char *text = malloc(bytes.len + 1);
  if (text == NULL) abort();
  memcpy(text, bytes.ptr, bytes.len);
  text[bytes.len] = 0;
  *length = bytes.len;
  plugin_list_u8_free(&bytes);
  return text;
}
