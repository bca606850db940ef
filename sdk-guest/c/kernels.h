/* Columns that the host holds, as the handler's glue sees them. */
#ifndef SPOUT_KERNELS_H
#define SPOUT_KERNELS_H

#include "boundary.h"

/* The column at this index of a batch. */
spout_held *spout_held_of(spout_plugin_data_borrow_batch_t batch, uint32_t index);
/* The column to hand over. */
spout_plugin_kernels_own_column_t spout_held_give(const spout_held *column);
/* Frees all columns of a call. */
void spout_held_release(void);
/* The code of what a kernel refused in this call, or `otherwise`. */
const char *spout_held_code(const char *otherwise);

#endif
