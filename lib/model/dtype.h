/* Element types: sizes, names, single elements, widening to float and narrowing from it. */
#ifndef NOKEN_MODEL_DTYPE_H
#define NOKEN_MODEL_DTYPE_H

#include <noken/model.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of one element. */
size_t nki_dtype_size(enum nk_dtype dtype);
/* The type called name; -1 when there is none. */
int nki_dtype_of_name(const char *name, size_t length);

/* out[i] = source[i] as float, for F32, F16, BF16 and F64 (a double beyond float's range becomes an
 * infinity). source needs no alignment. Chosen at run time for the processor at hand; uses the
 * calling thread only (nki_tensor_widen uses all). Returns NK_OK, or NK_EUNSUPPORTED for other
 * types. */
int nki_widen(enum nk_dtype dtype, const void *source, size_t n, float *out);

/* One element of an integer or float type as int64 or double; source needs no alignment. */
int64_t nki_element_integer(enum nk_dtype dtype, const void *source, size_t index);
double nki_element_number(enum nk_dtype dtype, const void *source, size_t index);

/* float to half and to bfloat16, round to nearest even. */
uint16_t nki_f16_of_float(float value);
uint16_t nki_bf16_of_float(float value);

/* Index of the first value of x[0..n) that is a NaN or an infinity; n when there is none. */
size_t nki_first_not_finite(const float *x, size_t n);

#endif
