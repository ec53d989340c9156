/* NumPy's .npz. Of a zip archive (PKWARE's APPNOTE.TXT, 4.3) the end and the central directory are
 * read; numbers are little-endian:
 *
 *   end, the last 22 bytes and a comment:
 *     0 "PK\5\6"   10 entries, 2 bytes   12 size, 16 offset of the directory, 4 bytes each
 *   an entry of the directory:
 *     0 "PK\1\2"   8 flags   10 method (0: stored)   20 bytes compressed   24 uncompressed
 *     28 bytes of the name, 30 of extras, 32 of a comment, 2 bytes each   42 offset of the file
 *     46 the name
 *   a file:
 *     0 "PK\3\4"   26 bytes of the name, 28 of extras   30 the name, the extras, the bytes
 */
#include "io/npz.h"
#include <noken/base.h>
#include <string.h>
#include "io/npy.h"
#include "io/vectors.h"

enum { END_SIZE = 22, ENTRY_SIZE = 46, FILE_SIZE = 30, MOST_COMMENT = 65535 };

static size_t number_at(const unsigned char *at, size_t n_bytes) {
  size_t value = 0;
  while (n_bytes > 0) value = value << 8 | at[--n_bytes];
  return value;
}

bool nki_npz_is(const struct nk_file *file) {
  return file->size >= 4 &&
         (memcmp(file->data, "PK\3\4", 4) == 0 || memcmp(file->data, "PK\5\6", 4) == 0);
}

static const unsigned char *find_end(const struct nk_file *file) {
  for (size_t back = END_SIZE; back <= file->size && back <= END_SIZE + MOST_COMMENT; back++) {
    const unsigned char *at = file->data + file->size - back;
    if (memcmp(at, "PK\5\6", 4) == 0 && number_at(at + 20, 2) == back - END_SIZE) return at;
  }
  return NULL;
}

/* *stored = the bytes of the file that an entry of the directory describes. */
static int find_stored(const struct nk_file *file, const unsigned char *entry,
                       struct nk_file *stored) {
  size_t method = number_at(entry + 10, 2), size = number_at(entry + 24, 4);
  size_t offset = number_at(entry + 42, 4);
  if ((number_at(entry + 8, 2) & 1) != 0) return nk_fail(NK_EUNSUPPORTED, "is encrypted");
  if (method != 0)
    return nk_fail(NK_EUNSUPPORTED,
                   "is compressed: save it with numpy.savez, not savez_compressed");
  if (size == 0xFFFFFFFF || offset == 0xFFFFFFFF)
    return nk_fail(NK_EUNSUPPORTED, "is larger than 4 GiB: save it as .npy");
  if (offset > file->size || file->size - offset < FILE_SIZE ||
      memcmp(file->data + offset, "PK\3\4", 4) != 0)
    return nk_fail(NK_EDATA, "is not where the archive's directory says");
  size_t start = offset + FILE_SIZE + number_at(file->data + offset + 26, 2) +
                 number_at(file->data + offset + 28, 2);
  if (start > file->size || size > file->size - start || number_at(entry + 20, 4) != size)
    return nk_fail(NK_EDATA, "ends beyond the archive");
  stored->data = file->data + start;
  stored->size = size;
  return NK_OK;
}

/* The array of an entry; *found false, with a warning, where its type is not one of numbers. */
static int read_array(const struct nk_file *file, const unsigned char *entry, const char *name,
                      size_t length, struct nki_npz_array *array, bool *found) {
  struct nk_file stored = {.name = nk_strndup(name, length)};
  int code = stored.name != NULL ? find_stored(file, entry, &stored) : NK_EMEMORY;
  if (code != NK_OK && stored.name != NULL) nk_fail_in(code, "%s", stored.name);
  *found = code == NK_OK;
  if (code == NK_OK) code = nki_npy_read(&stored, &array->tensor, &array->transposed);
  if (code == NK_EUNSUPPORTED && *found) {
    nk_warn("%s: %s; the array is not read", file->name, nk_error());
    *found = false;
    code = NK_OK;
  }
  if (code == NK_OK && *found) {
    stored.name[length - 4] = 0; /* ".npy" */
    array->tensor.name = stored.name;
    return NK_OK;
  }
  nk_free(stored.name);
  return code;
}

static int read_directory(const struct nk_file *file, const unsigned char *at,
                          const unsigned char *end, size_t n_entries, struct nki_npz_array *arrays,
                          size_t *n) {
  size_t total = 0; /* bytes of arrays: more than the file has are in two arrays at once */
  for (size_t i = 0; i < n_entries; i++) {
    if ((size_t)(end - at) < ENTRY_SIZE || memcmp(at, "PK\1\2", 4) != 0)
      return nk_fail(NK_EDATA, "the archive's directory is damaged");
    size_t length = number_at(at + 28, 2);
    size_t size = ENTRY_SIZE + length + number_at(at + 30, 2) + number_at(at + 32, 2);
    if ((size_t)(end - at) < size) return nk_fail(NK_EDATA, "the archive's directory is damaged");
    const char *name = (const char *)at + ENTRY_SIZE;
    if (length > 4 && memcmp(name + length - 4, ".npy", 4) == 0 &&
        memchr(name, 0, length) == NULL) {
      bool found = false;
      total += number_at(at + 20, 4);
      if (total > file->size)
        return nk_fail(NK_EDATA, "its arrays overlap: they have more bytes than the archive");
      int code = read_array(file, at, name, length, &arrays[*n], &found);
      if (code != NK_OK) return code;
      *n += found;
    }
    at += size;
  }
  return NK_OK;
}

static int check_names(const struct nki_npz_array *arrays, size_t n) {
  const char **names = nk_alloc(n, sizeof *names);
  for (size_t i = 0; names != NULL && i < n; i++) names[i] = arrays[i].tensor.name;
  return nki_check_names(names, n, "arrays");
}

int nki_npz_read(const struct nk_file *file, struct nki_npz_array **arrays, size_t *n) {
  const unsigned char *end = find_end(file);
  *arrays = NULL;
  *n = 0;
  if (end == NULL) return nk_fail(NK_EDATA, "a zip archive without its end: it is cut short");
  size_t n_entries = number_at(end + 10, 2), offset = number_at(end + 16, 4);
  size_t before = (size_t)(end - file->data);
  if (offset > before || n_entries > (before - offset) / ENTRY_SIZE)
    return nk_fail(NK_EDATA, "the archive's directory is damaged");
  *arrays = nk_calloc(n_entries, sizeof **arrays);
  int code = *arrays != NULL ? read_directory(file, file->data + offset, end, n_entries, *arrays, n)
                             : NK_EMEMORY;
  if (code == NK_OK) code = check_names(*arrays, *n);
  if (code == NK_OK && *n == 0)
    code = nk_fail(NK_EUNSUPPORTED,
                   "a zip archive without an array of numbers (a PyTorch file? save the tensor as "
                   "safetensors or .npy)");
  if (code == NK_OK) return NK_OK;
  nki_npz_free(*arrays, *n);
  *arrays = NULL;
  *n = 0;
  return code;
}

void nki_npz_free(struct nki_npz_array *arrays, size_t n) {
  for (size_t i = 0; i < n; i++) nk_free((char *)(uintptr_t)arrays[i].tensor.name);
  nk_free(arrays);
}
