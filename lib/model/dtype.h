/* Element types: sizes, names, widening to float. */
#ifndef NOKEN_DTYPE_H
#define NOKEN_DTYPE_H

#include <noken/model.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of one element. */
size_t nk_dtype_size(enum nk_dtype dtype);
/* The type called name; -1 when there is none. */
int nk_dtype_of_name(const char *name, size_t length);

/* out[i] = source[i] as float, for F32, F16, BF16 and F64 (a double beyond float's range becomes an
 * infinity). source needs no alignment. Chosen at run time for the processor at hand; uses the
 * calling thread only. Returns 0, or NK_EUNSUPPORTED for other types. */
int nk_widen(enum nk_dtype dtype, const void *source, size_t n, float *out);

/* One element of an integer or float type as int64 or double; source needs no alignment. */
int64_t nk_element_integer(enum nk_dtype dtype, const void *source, size_t index);
double nk_element_number(enum nk_dtype dtype, const void *source, size_t index);

/* float to half and to bfloat16, round to nearest even. */
uint16_t nk_f16_of_float(float value);
uint16_t nk_bf16_of_float(float value);

/* Index of the first value of x[0..n) that is a NaN or an infinity; n when there is none. */
size_t nk_first_not_finite(const float *x, size_t n);

#ifdef __cplusplus
}
#endif
#endif
