/* Products of bfloat16: the model's matrices in bfloat16, the rows that they are multiplied with
 * rounded to it (to nearest, ties to even), the sums in F32. Everything else is F32: biases, norms,
 * activations, attention's scores and sums, and the choice of experts, which would change in jumps.
 * Computed by oneDNN, by way of its module (dnnl.h). */
#ifndef NOKEN_FORWARD_BF16_H
#define NOKEN_FORWARD_BF16_H

#include "forward/internal.h"

struct nki_work;

/* Opens forward->bf16; quiet: without a warning that it is slow here. Returns NK_OK;
 * NK_EUNSUPPORTED without the module, or on a processor without instructions for bfloat16;
 * NK_EMEMORY. */
int nki_bf16_open(struct nk_forward *forward, bool quiet);
void nki_bf16_free(struct nki_bf16 *bf16);

/* The packed matrices of a run, and buffers: of one block and one expert at a time, or of rows of
 * the unembedding. */
struct nki_bf16_run;
/* A packed matrix. */
struct nki_packed;

/* NULL without memory. */
struct nki_bf16_run *nki_bf16_run_new(const struct nki_bf16 *bf16);
void nki_bf16_run_free(struct nki_bf16_run *run);
/* The code of the first pack or product that failed, which with those after it gave zeros; or
 * NK_OK, also for a run of NULL. */
int nki_bf16_code(const struct nki_bf16_run *run);

/* Whether nki_block_widen and nki_expert_widen leave a part's tensor where it is: a matrix that is
 * multiplied as the file has it. */
bool nki_bf16_stays(const struct nk_forward *forward, enum nki_part part,
                    const struct nk_tensor *tensor);
/* Packs the matrices of the block in work->floats, or of an expert, which are widened or left. */
void nki_bf16_load_block(struct nki_work *work, size_t layer);
void nki_bf16_load_expert(struct nki_work *work, size_t layer, size_t expert,
                          struct nki_expert *weights);
/* Packs rows [first, first + n) of a matrix, which are widened into scratch [n, row] unless they
 * are BF16. */
const struct nki_packed *nki_bf16_load_rows(struct nki_bf16_run *run,
                                            const struct nk_tensor *tensor, size_t first, size_t n,
                                            float *scratch);

/* The product of nki_multiply with p->packed. */
void nki_bf16_multiply(const struct nki_product *p, size_t n);

#endif
