/* Input by mapping, output that appears only when complete. */
#include "base/file.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <noken/base.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Input ---- */

/* Reads a pipe to its end. The buffer grows by the C library's own realloc: that of nk_alloc's
 * blocks copies, and what is read would be in memory twice. */
static int read_all(int fd, struct nk_file *file) {
  size_t capacity = (size_t)1 << 16;
  unsigned char *data = nk_alloc(capacity, 1);
  if (data == NULL) return NK_EMEMORY;
  file->data = data;
  for (;;) {
    if (file->size == capacity) {
      capacity += capacity / 4;
      unsigned char *grown = realloc(data, capacity);
      if (grown == NULL)
        return nk_fail(NK_EMEMORY, "%s: out of memory: %zu bytes", file->name, capacity);
      file->data = data = grown;
    }
    ssize_t n = read(fd, data + file->size, capacity - file->size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return nk_fail_errno("%s", file->name);
    if (n == 0) return NK_OK;
    file->size += (size_t)n;
  }
}

static int load(int fd, struct nk_file *file) {
  struct stat status;
  if (fstat(fd, &status) != 0) return nk_fail_errno("%s", file->name);
  if (S_ISDIR(status.st_mode))
    return nk_fail(NK_EIO, "%s: is a directory, expected a file", file->name);
  if (fd == STDIN_FILENO && isatty(fd) != 0)
    return nk_fail(NK_EUSAGE, "standard input is a terminal: name a file or use a pipe");
  off_t position = S_ISREG(status.st_mode) ? lseek(fd, 0, SEEK_CUR) : -1;
  if (position != 0 || status.st_size == 0) return read_all(fd, file);
  void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (data == MAP_FAILED) return read_all(fd, file);
  file->data = data;
  file->size = (size_t)status.st_size;
  file->mapped = true;
  return NK_OK;
}

/* What Git LFS leaves in place of a file that was not fetched, at most 1024 bytes of text:
 *
 *   version https://git-lfs.github.com/spec/v1
 *   oid sha256:4cac19622fc3ada9c0fdeadb33f88f367b541f38b89102a3f1261ac81fd5bcb5
 *   size 84977953
 */
static int check_fetched(const struct nk_file *file) {
  static const char *const beginnings[] = {"version https://git-lfs.github.com/spec/",
                                           "version https://hawser.github.com/spec/"};
  for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++) {
    size_t n = strlen(beginnings[i]);
    if (file->size < n || file->size > 1024 || memcmp(file->data, beginnings[i], n) != 0) continue;
    return nk_fail(NK_EDATA,
                   "%s: is a Git LFS pointer, not the file itself: fetch the file with 'git lfs "
                   "pull'",
                   file->name);
  }
  return NK_OK;
}

struct nk_file *nk_file_open(const char *path) {
  bool standard = path == NULL || strcmp(path, "-") == 0;
  struct nk_file *file = nk_calloc(1, sizeof *file);
  if (file == NULL) return NULL;
  file->name = nk_strdup(standard ? "standard input" : path);
  int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
  int code = file->name != NULL ? NK_OK : NK_EMEMORY;
  if (code == NK_OK && fd < 0) code = nk_fail_errno("%s", path);
  if (code == NK_OK) code = load(fd, file);
  if (code == NK_OK) code = check_fetched(file);
  if (!standard && fd >= 0) close(fd);
  if (code == NK_OK) return file;
  nk_file_free(file);
  return NULL;
}

void nk_file_free(struct nk_file *file) {
  if (file == NULL) return;
  if (file->mapped) {
    munmap((void *)(uintptr_t)file->data, file->size);
  } else {
    nk_free((void *)(uintptr_t)file->data);
  }
  nk_free(file->name);
  nk_free(file);
}

void nki_file_forget(const struct nk_file *file, size_t offset, size_t n) {
  if (!file->mapped || offset > file->size || n > file->size - offset) return;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t first = offset / page * page; /* the start of that page was read earlier */
  size_t last = (offset + n) / page * page;
  if (last > first) madvise((void *)(uintptr_t)(file->data + first), last - first, MADV_DONTNEED);
}

/* ---- Output ---- */

enum { BLOCK = 1 << 18 };

struct nk_output {
  int fd;
  char *path;      /* the target, NULL for standard output or a device */
  char *temporary; /* a name beside it, NULL while the file has none */
  char *name;
  bool owned; /* fd was opened here */
  int failed; /* the first failure's code */
  size_t used;
  unsigned char block[BLOCK];
};

/* A nameless file in the folder of the path, or one with a temporary name where the file system has
 * no nameless files, or /proc, by which they get a name, is not mounted. */
static int open_beside(struct nk_output *output) {
  char *copy = nk_strdup(output->path);
  if (copy == NULL) return NK_EMEMORY;
  const char *folder = dirname(copy);
  bool nameless = access("/proc/self/fd", X_OK) == 0;
  if (nameless) output->fd = open(folder, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (!nameless ||
      (output->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))) {
    size_t size = strlen(output->path) + 32;
    output->temporary = nk_alloc(size, 1);
    if (output->temporary != NULL) {
      snprintf(output->temporary, size, "%s.%ld.part", output->path, (long)getpid());
      output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
  }
  nk_free(copy);
  return output->fd < 0 ? nk_fail_errno("%s", output->path) : NK_OK;
}

static int open_target(struct nk_output *output, const char *path) {
  struct stat status;
  bool exists = stat(path, &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return nk_fail(NK_EIO, "%s: is a directory, expected a file", path);
  output->owned = true;
  if (exists && !S_ISREG(status.st_mode)) { /* a device or a named pipe is written directly */
    output->fd = open(path, O_WRONLY | O_CLOEXEC);
    return output->fd < 0 ? nk_fail_errno("%s", path) : NK_OK;
  }
  /* A link stays: the file it points to is replaced. */
  char *resolved = exists ? realpath(path, NULL) : NULL;
  output->path = nk_strdup(resolved != NULL ? resolved : path);
  free(resolved);
  return output->path != NULL ? open_beside(output) : NK_EMEMORY;
}

struct nk_output *nk_output_open(const char *path, int kind) {
  struct nk_output *output = nk_alloc(1, sizeof *output);
  if (output == NULL) return NULL;
  memset(output, 0, offsetof(struct nk_output, block));
  output->fd = -1;
  int code = NK_OK;
  bool standard = path == NULL || strcmp(path, "-") == 0;
  output->name = nk_strdup(standard ? "standard output" : path);
  if (output->name == NULL) {
    code = NK_EMEMORY;
  } else if (!standard) {
    code = open_target(output, path);
  } else {
    output->fd = STDOUT_FILENO;
    if ((kind & NK_OUTPUT_BINARY) != 0 && isatty(STDOUT_FILENO) != 0)
      code = nk_fail(NK_EUSAGE, "binary output to a terminal: write to a file or a pipe");
  }
  if (code == NK_OK) return output;
  nk_output_free(output);
  return NULL;
}

static int write_all(struct nk_output *output, const unsigned char *bytes, size_t n) {
  while (n > 0) {
    ssize_t written = write(output->fd, bytes, n);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EFAULT) /* the bytes are those of a mapped file */
      return output->failed =
                 nk_fail(NK_EIO, "%s: an input became shorter while it was in use", output->name);
    if (written < 0) return output->failed = nk_fail_errno("%s", output->name);
    bytes += written;
    n -= (size_t)written;
  }
  return NK_OK;
}

static int flush(struct nk_output *output) {
  size_t n = output->used;
  output->used = 0;
  return write_all(output, output->block, n);
}

int nk_output_write(struct nk_output *output, const void *bytes, size_t n) {
  if (output == NULL) return nki_fail_null();
  if (output->failed != NK_OK) return output->failed;
  if (n <= BLOCK - output->used) {
    if (n != 0) memcpy(output->block + output->used, bytes, n);
    output->used += n;
    return NK_OK;
  }
  int code = flush(output);
  if (code != NK_OK) return code;
  if (n >= BLOCK) return write_all(output, bytes, n);
  memcpy(output->block, bytes, n);
  output->used = n;
  return NK_OK;
}

/* Gives a nameless file its name, or where a file has that, a temporary one first: linkat cannot
 * replace a file, rename can. */
static int name_file(struct nk_output *output) {
  if (output->temporary == NULL) {
    char proc[64];
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", output->fd);
    if (linkat(AT_FDCWD, proc, AT_FDCWD, output->path, AT_SYMLINK_FOLLOW) == 0) return NK_OK;
    if (errno != EEXIST) return nk_fail_errno("%s", output->name);
    size_t size = strlen(output->path) + 32;
    char *temporary = nk_alloc(size, 1);
    if (temporary == NULL) return NK_EMEMORY;
    snprintf(temporary, size, "%s.%ld.part", output->path, (long)getpid());
    if (linkat(AT_FDCWD, proc, AT_FDCWD, temporary, AT_SYMLINK_FOLLOW) != 0) {
      nk_free(temporary);
      return nk_fail_errno("%s", output->name);
    }
    output->temporary = temporary;
  }
  if (rename(output->temporary, output->path) != 0) return nk_fail_errno("%s", output->name);
  nk_free(output->temporary);
  output->temporary = NULL;
  return NK_OK;
}

int nk_output_commit(struct nk_output *output) {
  if (output == NULL) return nki_fail_null();
  if (output->failed != NK_OK) return output->failed;
  int code = flush(output);
  /* Some file systems report a full disk only when a descriptor is closed: a copy of it is. */
  int copy = code == NK_OK && output->owned ? dup(output->fd) : -1;
  if (copy >= 0 && close(copy) != 0) code = output->failed = nk_fail_errno("%s", output->name);
  if (code == NK_OK && output->path != NULL) code = output->failed = name_file(output);
  return code;
}

void nk_output_free(struct nk_output *output) {
  if (output == NULL) return;
  if (output->owned && output->fd >= 0) close(output->fd);
  if (output->temporary != NULL) unlink(output->temporary);
  nk_free(output->temporary);
  nk_free(output->path);
  nk_free(output->name);
  nk_free(output);
}
