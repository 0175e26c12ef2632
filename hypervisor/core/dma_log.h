/* What the DMA engine tells goes into the log. While nothing is recorded, nowhere. */
#ifndef LVMM_CORE_DMA_LOG_H
#define LVMM_CORE_DMA_LOG_H

#include "core/vcpu.h"
#include "log_format.h"
#include "replay/session.h"

/* What the engine tells from now on becomes visible at this moment. */
void dma_log_at(enum session_moment moment);
void dma_log_write(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len);
/* The same of what a device received, which may begin or end the recording. */
void dma_log_payload(struct vcpu *vcpu, u8 stream, u64 gpa, const void *data, u32 len);
/* Negative: no more of this. */
int dma_log_sent(struct vcpu *vcpu, u8 stream, u8 flags, u32 length, const void *data, u32 len);
/* Logs the time, when something was transferred since the last call. */
void dma_log_time(struct vcpu *vcpu);

#endif
