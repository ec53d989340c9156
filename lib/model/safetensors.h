/* safetensors: 8 bytes of little-endian header length, a JSON header, then the tensors' bytes. Read
 * mapped or from a pipe, everything in the header checked before it is used; written in one pass.
 */
#ifndef NOKEN_MODEL_SAFETENSORS_H
#define NOKEN_MODEL_SAFETENSORS_H

#include <noken/model.h>
#include <stddef.h>

struct nki_safetensors;

/* Reads the header of file, which the result then owns (also on failure). NULL on failure: header
 * cut short or longer than the file, invalid JSON (line and column), duplicate names, a shape whose
 * product overflows, offsets outside the file, overlapping, leaving a gap, or not matching shape x
 * dtype. */
struct nki_safetensors *nki_safetensors_read(struct nk_file *file);
struct nki_safetensors *nki_safetensors_open(const char *path);
void nki_safetensors_free(struct nki_safetensors *st);

/* The tensors in the order of their bytes in the file. */
size_t nki_safetensors_n_tensors(const struct nki_safetensors *st);
const struct nk_tensor *nki_safetensors_tensor(const struct nki_safetensors *st, size_t index);
/* One of these tensors for changing, or NULL where it is another file's. */
struct nk_tensor *nki_safetensors_writable(struct nki_safetensors *st,
                                           const struct nk_tensor *tensor);
/* The tensor called name, or NULL (nk_error() set). */
const struct nk_tensor *nki_safetensors_find(const struct nki_safetensors *st, const char *name);
/* The same without an error. */
const struct nk_tensor *nki_safetensors_look_up(const struct nki_safetensors *st, const char *name);
/* __metadata__: the i-th pair; NK_OK, or NK_ENOTFOUND past the end. */
int nki_safetensors_metadata(const struct nki_safetensors *st, size_t index, const char **key,
                             const char **value);
/* The value of key, or NULL (no error is set). */
const char *nki_safetensors_metadata_find(const struct nki_safetensors *st, const char *key);
const struct nk_file *nki_safetensors_file(const struct nki_safetensors *st);

/* Writing: name all tensors (data NULL for those whose bytes will be streamed), write the header,
 * then their bytes in the same order. */
struct nki_safetensors_writer;
struct nki_safetensors_writer *nki_safetensors_writer_new(struct nk_output *output);
int nki_safetensors_writer_metadata(struct nki_safetensors_writer *writer, const char *key,
                                    const char *value);
/* The writer copies the name, not the data. */
int nki_safetensors_writer_add(struct nki_safetensors_writer *writer,
                               const struct nk_tensor *tensor);
/* Writes the header and every leading tensor that has data; stops before the first without. */
int nki_safetensors_writer_begin(struct nki_safetensors_writer *writer);
/* The next n bytes of the tensor whose turn it is; when it is full, tensors with data that follow
 * it are written too. */
int nki_safetensors_writer_bytes(struct nki_safetensors_writer *writer, const void *bytes,
                                 size_t n);
/* Checks that every byte was given, and frees the writer. Does not commit the output. */
int nki_safetensors_writer_finish(struct nki_safetensors_writer *writer);
void nki_safetensors_writer_free(struct nki_safetensors_writer *writer);

#endif
