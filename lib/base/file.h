/* Files, beyond what base.h exports. */
#ifndef NOKEN_BASE_FILE_H
#define NOKEN_BASE_FILE_H

#include <noken/base.h>

/* Tells the system that data[offset, offset + n) of a mapped file was read and is not needed again
 * soon, so that streaming through a large file does not enlarge this process's memory. */
void nki_file_forget(const struct nk_file *file, size_t offset, size_t n);

#endif
