/* Texts for people: statistics, page walks. */
#ifndef LVMM_LINK_QUERY_TEXTS_H
#define LVMM_LINK_QUERY_TEXTS_H

#include "core/vcpu.h"

/* Makes the text of an enum link_query_kind. Returns it with its size in bytes, which is 0 for a
 * kind that does not exist. It stays until the next one is made. */
const char *query_text(const struct vcpu *vcpu, u8 kind, u64 argument, u32 *size);
const char *query_last_text(u32 *size);

#endif
