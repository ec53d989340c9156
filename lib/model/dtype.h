/* Element types: sizes, names, single elements, widening to float and narrowing from it. */
#ifndef NOKEN_MODEL_DTYPE_H
#define NOKEN_MODEL_DTYPE_H

#include <noken/model.h>
#include <stddef.h>
#include <stdint.h>

/* Bits of one element; 0 for the quantized types and NK_OTHER. */
size_t nki_dtype_bits(enum nk_dtype dtype);
/* Bytes of one element; 0 for the types whose elements have no whole bytes, the quantized ones and
 * NK_OTHER. */
size_t nki_dtype_size(enum nk_dtype dtype);
/* The type that safetensors calls name; NK_OTHER when there is none. */
enum nk_dtype nki_dtype_of_name(const char *name, size_t length);
/* The name of the tensor's type, for messages and headers. */
const char *nki_tensor_dtype_name(const struct nk_tensor *tensor);

/* out[i] = source[i] as float, for F32, F16, BF16 and F64 (a double beyond float's range becomes an
 * infinity), and for the quantized types, of which n is whole blocks. source needs no alignment.
 * Chosen at run time for the processor at hand; uses the calling thread only (nki_tensor_widen uses
 * all). Returns NK_OK, or NK_EUNSUPPORTED for other types. */
int nki_widen(enum nk_dtype dtype, const void *source, size_t n, float *out);

/* One element of an integer or float type as int64 or double (a type smaller than a byte, a complex
 * or an unknown one: NaN and 0); source needs no alignment. */
int64_t nki_element_integer(enum nk_dtype dtype, const void *source, size_t index);
double nki_element_number(enum nk_dtype dtype, const void *source, size_t index);

/* float to half and to bfloat16, round to nearest even. */
uint16_t nki_f16_of_float(float value);
uint16_t nki_bf16_of_float(float value);

/* Index of the first value of x[0..n) that is a NaN or an infinity; n when there is none. */
size_t nki_first_not_finite(const float *x, size_t n);

#endif
