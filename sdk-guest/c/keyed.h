/* Keyed state, as the handler's glue sees it. */
#ifndef SPOUT_KEYED_H
#define SPOUT_KEYED_H

/* Frees what the last call of spout_state_… returned. */
void spout_state_release(void);

#endif
