/* Everything a spout plugin in C needs. A plugin is a spout.json and a plugin.c with the functions at the end of this file. */
#ifndef SPOUT_H
#define SPOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes with a length, without a zero at the end. */
typedef struct {
  const char *at;
  size_t length;
} spout_text;

/* Settings, as spout.json declares them and the spec sets them; checked before spout_open is called. */
const char *spout_setting(const char *name);
int64_t spout_setting_int(const char *name);
double spout_setting_float(const char *name);
bool spout_setting_bool(const char *name);

/* Says what went wrong with a call, which stops the pipeline: `return spout_fail("no column %s", name);`. In spout_open it says
   what is wrong with the settings. Returns NULL, which is false. */
void *spout_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

typedef enum { SPOUT_DEBUG = 1, SPOUT_INFO, SPOUT_WARN, SPOUT_ERROR } spout_level;
void spout_log(spout_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The columns that a plugin makes, with {0} at the end: `const spout_field spout_columns[] = {{"host", SPOUT_UTF8}, {0}};`. */
typedef enum { SPOUT_INT64, SPOUT_FLOAT64, SPOUT_BOOL, SPOUT_UTF8, SPOUT_BINARY, SPOUT_TIMESTAMP_MS } spout_type;
typedef struct {
  const char *name;
  spout_type type;
} spout_field;
extern const spout_field spout_columns[];

/* Rows that a plugin makes: spout_row begins one, spout_put_… sets a column of it by its place; what is not set is null.
   spout_put_int also puts a SPOUT_TIMESTAMP_MS, in milliseconds since 1970-01-01 UTC. A text that is not UTF-8 is a fault of its
   message, or fails the call of a handler. */
typedef struct spout_out spout_out;
void spout_row(spout_out *out);
void spout_put_int(spout_out *out, size_t column, int64_t value);
void spout_put_float(spout_out *out, size_t column, double value);
void spout_put_bool(spout_out *out, size_t column, bool value);
void spout_put_text(spout_out *out, size_t column, const char *text, size_t length);

/* Rows that a handler gets. Only the columns that are asked for are copied. spout_column_of returns NULL, and the call fails, if
   there is no column of that name, or if it has lists, structs or decimals. */
typedef struct spout_rows spout_rows;
typedef struct spout_column spout_column;
size_t spout_count(const spout_rows *rows);
const spout_column *spout_column_of(spout_rows *rows, const char *name);
bool spout_is_null(const spout_column *column, size_t row);
int64_t spout_int(const spout_column *column, size_t row);
double spout_float(const spout_column *column, size_t row);
spout_text spout_text_of(const spout_column *column, size_t row);

/* The answer of a handler: rows that are kept; or all rows with the columns of `out` added or replaced; or new rows. */
void spout_keep(spout_rows *rows, size_t row);
void spout_keep_all(spout_rows *rows);
void spout_add_columns(spout_rows *rows);
void spout_new_rows(spout_rows *rows);

/* Kernels of the host over columns of a call, which stay there: no value is copied, whatever the type. Each makes a column of as many
   rows. Null stays null, unless it says otherwise. What cannot be computed is NULL, and the call fails with what the host says of it;
   NULL given is NULL, so that calls nest. Columns are freed when the handler returns. */
typedef struct spout_held spout_held;
spout_held *spout_hold(spout_rows *rows, const char *name);
typedef enum { SPOUT_EQUAL, SPOUT_NOT_EQUAL, SPOUT_LESS, SPOUT_LESS_OR_EQUAL, SPOUT_GREATER, SPOUT_GREATER_OR_EQUAL } spout_comparison;
/* Booleans. Numbers are compared exactly, whatever their types; floats in the total order of IEEE 754, NaN last; times, dates and decimals
   with texts as in JSON. */
spout_held *spout_compare_bool(const spout_held *column, spout_comparison how, bool than);
spout_held *spout_compare_int(const spout_held *column, spout_comparison how, int64_t than);
spout_held *spout_compare_float(const spout_held *column, spout_comparison how, double than);
spout_held *spout_compare_text(const spout_held *column, spout_comparison how, spout_text than);
spout_held *spout_compare_bytes(const spout_held *column, spout_comparison how, spout_text than);
spout_held *spout_compare_columns(const spout_held *column, spout_comparison how, const spout_held *other);
spout_held *spout_nulls(const spout_held *column); /* Whether each is null: booleans without a null. */
/* Booleans of booleans, after Kleene as in SQL. */
spout_held *spout_both(const spout_held *column, const spout_held *other);
spout_held *spout_either(const spout_held *column, const spout_held *other);
spout_held *spout_negate(const spout_held *column);
/* Of texts: whether each has a match of this regular expression, in the syntax of the crate `regex`; each match replaced, `$1` being a
   group; each character but the first and the last so many replaced by the character `by`, all of them where there are no more. */
spout_held *spout_matches(const spout_held *column, const char *pattern);
spout_held *spout_replace(const spout_held *column, const char *pattern, const char *by);
spout_held *spout_mask(const spout_held *column, uint32_t first, uint32_t last, uint32_t by);
/* The SHA-256 of `salt` and each text, or bytes, behind it, in hexadecimal digits. */
spout_held *spout_hashed(const spout_held *column, spout_text salt);
/* As another type, named as in a spec: `int64`, `timestamp(ms, UTC)`. */
spout_held *spout_cast(const spout_held *column, const char *to);
/* The answer of a handler: rows for which a column of booleans is true; or all rows with columns added or replaced, each by a call. False
   where the column is NULL: `return spout_select(rows, spout_matches(spout_hold(rows, "host"), "^www"));`. */
bool spout_select(spout_rows *rows, const spout_held *column);
bool spout_add_held(spout_rows *rows, const char *name, const spout_held *column);

/* Keyed state of a handler, held by the host: a sorted map from bytes to bytes, of which a commit stores what changed. A call costs
   far more than a key, so each takes many. What they return is valid until the next of them, or until the handler returns.

   Keys of one call are different ones. spout_state_get: the values of keys; `at` is NULL for a key without one. spout_state_put: sets values, and removes the keys
   whose value has NULL as `at`. spout_state_scan: entries whose keys begin with `prefix` and come after `after` (from the first if
   its `at` is NULL), in the order of their bytes; how many there are, at most `room` and about a mebibyte; 0 at the end. */
void spout_state_get(const spout_text *keys, spout_text *values, size_t count);
void spout_state_put(const spout_text *keys, const spout_text *values, size_t count);
size_t spout_state_scan(spout_text prefix, spout_text after, spout_text *keys, spout_text *values, size_t room);

/* Makes the message a dead letter; rows that it has begun are dropped: `return spout_fault("syntax", "no `:` in the line");`. */
bool spout_fault(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sources. What a source calls the topic in the spec. */
const char *spout_topic(void);
/* How much a call may return. */
typedef struct {
  size_t messages, bytes;
} spout_limits;
/* Whether there is more at once, later, or never; SPOUT_FAILED after spout_fail or spout_retry. */
typedef enum { SPOUT_FAILED, SPOUT_MORE, SPOUT_IDLE, SPOUT_ENDED } spout_progress;
typedef enum { SPOUT_EARLIEST, SPOUT_LATEST, SPOUT_AT_TIME_MS, SPOUT_AT_OFFSET } spout_start;
/* Says why a call failed that may work later: `return spout_retry("%s does not answer", host);`. */
spout_progress spout_retry(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Sleeps up to `ms`; false if the host wants the plugin to finish. */
bool spout_pause(uint32_t ms);

/* Connections, of sources and streams: the host makes them to what `endpoints` and `net` of the spec grant, with TLS where an endpoint
   has it. `to` is the name of an endpoint or HOST:PORT. What fails has said why, by spout_fail where no other try mends it and by
   spout_retry otherwise: return SPOUT_FAILED. */
typedef struct spout_connection spout_connection;
spout_connection *spout_connect(const char *to, uint32_t within_ms); /* NULL if it fails. */
bool spout_is_secure(const spout_connection *connection);            /* Whether it goes through TLS. */
bool spout_send(spout_connection *connection, const void *bytes, size_t length, uint32_t within_ms); /* All of them. */
/* How many bytes have come, at least one; 0 at the end of all, SPOUT_NOTHING_YET if nothing came in time, SPOUT_BROKEN if it fails. */
enum { SPOUT_NOTHING_YET = -1, SPOUT_BROKEN = -2 };
int32_t spout_receive(spout_connection *connection, void *into, size_t room, uint32_t within_ms);
/* Has the host write the secret of this name, which the plugin does not see, to a connection to an endpoint. */
bool spout_send_secret(spout_connection *connection, const char *name, uint32_t within_ms);
void spout_close(spout_connection *connection); /* NULL is none. */

/* Secrets that the spec grants by name, which a plugin uses and does not see: the host makes what they prove. What fails has said why. */
typedef struct spout_secret spout_secret;
spout_secret *spout_secret_named(const char *name); /* NULL if there is none. */
void spout_secret_drop(spout_secret *secret);       /* NULL is none. */
/* How a secret is written: as it is, as a text of JSON with its quotes, or as the base64 of `before` and the secret behind it, as in
   HTTP's Basic; the others have no `before`. */
typedef enum { SPOUT_SECRET_RAW, SPOUT_SECRET_JSON, SPOUT_SECRET_BASE64 } spout_secret_form;
uint32_t spout_secret_length(const spout_secret *secret, spout_secret_form form, spout_text before);
/* Has the host write it to a connection to an endpoint, and to no other. */
bool spout_secret_send(const spout_secret *secret, spout_connection *connection, spout_secret_form form, spout_text before, uint32_t within_ms);
/* Proofs have 32 bytes with SHA-256 and 64 with SHA-512. */
typedef enum { SPOUT_SHA256, SPOUT_SHA512 } spout_hash;
/* The HMAC of `data` with the secret as its key; how many bytes it has. */
size_t spout_secret_hmac(const spout_secret *secret, spout_hash hash, const void *data, size_t length, uint8_t hmac[64]);
/* The client's proof after RFC 5802, and what the server has to answer; how many bytes each has, 0 if it fails. */
size_t spout_secret_scram(const spout_secret *secret, spout_hash hash, spout_text salt, uint32_t iterations, spout_text auth_message,
                          uint8_t proof[64], uint8_t server_signature[64]);
/* The signature after AWS's version 4, as 64 hexadecimal digits and a zero; `date` is its day, as in 20261127. */
void spout_secret_sign_v4(const spout_secret *secret, const char *date, const char *region, const char *service, spout_text string_to_sign,
                          char signature[65]);
/* The secret itself, where the spec says `reveal: true`: to be freed. NULL if it does not. */
char *spout_secret_reveal(const spout_secret *secret, size_t *length);

/* Messages that a source makes, offsets rising; spout_message_… says more of the last one. */
typedef struct spout_messages spout_messages;
void spout_message(spout_messages *messages, uint64_t offset, const void *payload, size_t length);
void spout_message_key(spout_messages *messages, const void *key, size_t length);
void spout_message_time(spout_messages *messages, int64_t ms);
void spout_message_header(spout_messages *messages, const char *name, const void *value, size_t length);
void spout_message_partition(spout_messages *messages, uint32_t partition); /* Of a stream; 0 otherwise. */

typedef struct spout_partitions spout_partitions;
void spout_partition(spout_partitions *partitions, uint32_t id, const char *label, bool ended);

/* What a plugin defines.

   All kinds: opens the plugin; `state` is what spout_snapshot, or spout_checkpoint, returned for the last commit, if anything. NULL
   after spout_fail. */
void *spout_open(const void *state, size_t length);

/* A decoder: the rows of one message, which depend on the message alone. False after spout_fault. */
bool spout_decode(void *self, spout_text message, spout_out *out);

/* A handler: looks at rows and answers, by what it calls; an answer depends on the rows it has seen, never on how they were cut into
   calls. False after spout_fail. */
bool spout_process(void *self, spout_rows *rows, spout_out *out);
/* A handler, if it has any: the rows still held back; its state as bytes, equal ones for equal states. */
bool spout_finish(void *self, spout_out *out);
spout_text spout_snapshot(void *self);
/* A handler with `tick` in the spec: event time has reached `watermark_ms`; rows that this releases, and in `next_ms` when there is
   something to do even if no row comes before (untouched: not until then). */
bool spout_tick(void *self, int64_t watermark_ms, spout_out *out, int64_t *next_ms);

/* A source by partition: all current partitions, whose numbers mean the same forever; and the messages of one from offset `start` on,
   without waiting for more, and in `next` where the next fetch starts. Any offset may be asked for again, and must give the same
   messages. spout_list is false after spout_fail or spout_retry. */
bool spout_list(void *self, spout_partitions *partitions);
spout_progress spout_fetch(
    void *self, uint32_t partition, uint64_t start, spout_limits limits, spout_messages *messages, uint64_t *next);
/* If it can tell: the offset of a place that the spec names, false for one that it does not know (without this function, only
   the earliest, 0, and offsets are known); and that everything before an offset is durable, a hint. */
bool spout_resolve(void *self, uint32_t partition, spout_start at, uint64_t value, uint64_t *offset);
void spout_committed(void *self, uint32_t partition, uint64_t offset);

/* A source read as one stream: the next messages, and bytes that say where it goes on after exactly those, which spout_open gets back.
   spout_from_latest, if it can: leaves out what is there already. */
spout_progress spout_next(void *self, spout_limits limits, spout_messages *messages);
spout_text spout_checkpoint(void *self);
bool spout_from_latest(void *self);

#endif
