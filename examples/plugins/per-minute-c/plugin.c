/* Counts rows by a column, from one tick of event time to the next: `tick: 1m` in the spec makes it counts a minute. */
#include <spout.h>
#include <stdlib.h>
#include <string.h>

enum { AT, KEY, COUNT };
const spout_field spout_columns[] = {
    [AT] = {"until", SPOUT_TIMESTAMP_MS}, [KEY] = {"key", SPOUT_UTF8}, [COUNT] = {"n", SPOUT_INT64}, {0}};

void *spout_open(const void *state, size_t length) {
  (void)state, (void)length;
  static char self;
  return &self;
}

/* What is counted is keyed state, so a commit stores what changed, and there may be more keys than memory. */
bool spout_process(void *self, spout_rows *rows, spout_out *out) {
  (void)self, (void)out;
  const spout_column *column = spout_column_of(rows, spout_setting("column"));
  if (column == NULL) return false;
  size_t count = 0, known = 0;
  spout_text *keys = calloc(spout_count(rows) + 1, sizeof *keys), *values = calloc(spout_count(rows) + 1, sizeof *values);
  int64_t *counts = calloc(spout_count(rows) + 1, sizeof *counts);
  for (size_t row = 0; row < spout_count(rows); row++) {
    if (spout_is_null(column, row)) continue;
    spout_text key = spout_text_of(column, row);
    size_t at = 0; /* Rows of one call have few keys; many would want a table. */
    while (at < count && !(keys[at].length == key.length && memcmp(keys[at].at, key.at, key.length) == 0)) at++;
    if (at == count) keys[count++] = key;
    counts[at]++;
  }
  spout_state_get(keys, values, count);
  for (size_t at = 0; at < count; at++) {
    int64_t before = 0;
    if (values[at].at) memcpy(&before, values[at].at, sizeof before), known++;
    counts[at] += before;
    values[at] = (spout_text){(const char *)&counts[at], sizeof counts[at]};
  }
  spout_state_put(keys, values, count);
  spout_log(SPOUT_DEBUG, "%zu keys, %zu of them known", count, known);
  free(keys), free(values), free(counts);
  return true;
}

/* Rows of all counts up to an instant, which begin anew. */
static bool counted(spout_out *out, const int64_t *until_ms) {
  spout_text keys[256], values[256];
  size_t count;
  while ((count = spout_state_scan((spout_text){"", 0}, (spout_text){NULL, 0}, keys, values, 256)) > 0) {
    for (size_t at = 0; at < count; at++) {
      int64_t n;
      memcpy(&n, values[at].at, sizeof n);
      spout_row(out);
      if (until_ms) spout_put_int(out, AT, *until_ms);
      spout_put_text(out, KEY, keys[at].at, keys[at].length);
      spout_put_int(out, COUNT, n);
    }
    memset(values, 0, sizeof values); /* A value without bytes removes its key. */
    spout_state_put(keys, values, count);
  }
  return true;
}

bool spout_tick(void *self, int64_t watermark_ms, spout_out *out, int64_t *next_ms) {
  (void)self, (void)next_ms;
  return counted(out, &watermark_ms);
}

/* The source has ended: no tick comes for what is left. */
bool spout_finish(void *self, spout_out *out) {
  (void)self;
  return counted(out, NULL);
}
