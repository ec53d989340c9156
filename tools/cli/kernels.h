/* The kernels that OpenBLAS runs: the fast ones where it would choose slow ones. */
#ifndef CLI_KERNELS_H
#define CLI_KERNELS_H

#include <noken/base.h>

/* Starts the program again with OPENBLAS_CORETYPE where this processor has faster kernels than
 * OpenBLAS chose (nk_blas_faster). A user's own OPENBLAS_CORETYPE is left as it is. */
void cli_start_with_fast_kernels(char **argv);

/* Appends a line that names the kernels in use and why they are. */
void cli_describe_kernels(struct nk_buffer *out);

#endif
