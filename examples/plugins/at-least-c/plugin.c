/* Keeps rows whose column is large enough; how many it kept is its state. */
#include <spout.h>
#include <string.h>

typedef struct {
  const char *column;
  int64_t least;
  uint64_t kept;
} at_least;

void *spout_open(const void *state, size_t length) {
  static at_least self;
  self = (at_least){.column = spout_setting("column"), .least = spout_setting_int("least")};
  if (length && length != sizeof self.kept) return spout_fail("the state has %zu bytes, not %zu", length, sizeof self.kept);
  if (length) memcpy(&self.kept, state, length);
  return &self;
}

bool spout_process(void *self, spout_rows *rows, spout_out *out) {
  (void)out;
  at_least *handler = self;
  const spout_column *column = spout_column_of(rows, handler->column);
  if (column == NULL) return false;
  for (size_t row = 0; row < spout_count(rows); row++) {
    if (spout_is_null(column, row) || spout_int(column, row) < handler->least) continue;
    spout_keep(rows, row);
    handler->kept++;
  }
  return true;
}

spout_text spout_snapshot(void *self) {
  at_least *handler = self;
  return (spout_text){(const char *)&handler->kept, sizeof handler->kept};
}
