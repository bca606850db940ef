/* What the glue of all kinds shares: from plain C to the generated types, which nothing outside this folder sees. */
#ifndef SPOUT_BOUNDARY_H
#define SPOUT_BOUNDARY_H

#include "plugin.h"
#include "spout.h"

struct spout_out {
  size_t rows, columns;
  struct spout_made *made;
};

/* A message of the call that is under way, if any; cleared when taken. */
extern char spout_failure[512];

plugin_string_t spout_owned(const char *text);
plugin_string_t spout_owned_bytes(const void *bytes, size_t length);
void spout_error(spout_plugin_types_error_t *error, uint8_t tag, const char *code);
/* Checks settings against spout.json; false, and spout_failure says why. */
bool spout_take_settings(spout_plugin_types_settings_t *settings);
void spout_offer(exports_spout_plugin_about_list_offer_t *offers, const char *interface);
void spout_out_begin(spout_out *out);
/* The schema of spout_columns. */
void spout_out_schema(spout_plugin_types_schema_t *schema);
/* Leaves the first `rows` rows. */
void spout_out_cut(spout_out *out, size_t rows);
/* The rows, and nothing is left in `out`. */
void spout_out_parts(spout_out *out, spout_plugin_types_parts_t *parts);

#endif
