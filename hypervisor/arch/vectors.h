/* Vectors of exceptions and NMIs (SDM vol. 3, table 6-1). */
#ifndef LVMM_ARCH_VECTORS_H
#define LVMM_ARCH_VECTORS_H

#define VECTOR_DB  1
#define VECTOR_NMI 2
#define VECTOR_BP  3
#define VECTOR_UD  6
#define VECTOR_DF  8
#define VECTOR_GP  13
#define VECTOR_PF  14

#endif
