/* Folders of models. A folder is made beside its place under a longer name and renamed. What a
 * killed process leaves there is removed by the next one that writes or checks the same folder. The
 * weights come last, so that it does not look whole either. */
#include "cli/model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char WEIGHTS[] = "model.safetensors", PART[] = ".noken-part";

/* ---- Paths ---- */

/* The folder's path without its last slashes, and what follows it; free with nk_free. */
static char *extend(const char *folder, const char *separator, const char *name) {
  struct nk_buffer path = {0};
  size_t n = strlen(folder);
  while (n > 1 && folder[n - 1] == '/') n--;
  nk_buffer_append(&path, folder, n);
  nk_buffer_text(&path, separator);
  nk_buffer_text(&path, name);
  char *copy = path.failed ? NULL : nk_strndup(path.data, path.size);
  if (path.failed) nk_fail(NK_EMEMORY, "%s: out of memory", folder);
  nk_buffer_free(&path);
  return copy;
}

static char *join(const char *folder, const char *name) {
  return extend(folder, "/", name);
}

static bool ends_in(const char *name, const char *end) {
  size_t n = strlen(name), m = strlen(end);
  return n > m && strcmp(name + n - m, end) == 0;
}

/* Configuration, vocabulary, template or code; no list of shards. */
static bool is_copied(const char *name) {
  static const char *const ends[] = {".json", ".txt", ".model", ".jinja", ".tiktoken", ".py"};
  if (name[0] == '.' || ends_in(name, ".index.json")) return false;
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
    if (ends_in(name, ends[i])) return true;
  return false;
}

/* Whether a folder in the making can have a file of that name. */
static bool is_written(const char *name) {
  return is_copied(name) || strcmp(name, WEIGHTS) == 0 || ends_in(name, ".part");
}

/* ---- Checks ---- */

static int check_source(const struct nk_model *model) {
  const char *folder = nk_model_folder(model);
  struct stat status;
  if (ends_in(nk_model_name(model), PART))
    return nk_fail(NK_EUSAGE, "%s: what is left of a folder that was not completed: rename it",
                   nk_model_name(model));
  if (folder != NULL && stat(folder, &status) == 0 && S_ISDIR(status.st_mode)) return NK_OK;
  return nk_fail(NK_EUNSUPPORTED,
                 "%s: a single file: a folder is written of a model that is a folder with its "
                 "config.json",
                 nk_model_name(model));
}

static int check_target(const char *folder) {
  struct stat status;
  const char *last = strrchr(folder, '/') != NULL ? strrchr(folder, '/') + 1 : folder;
  bool link = lstat(folder, &status) == 0 && S_ISLNK(status.st_mode);
  if (link || *last == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
    return nk_fail(NK_EUSAGE, "'%s': the folder is made anew in its place: name a folder", folder);
  DIR *directory = opendir(folder);
  if (directory == NULL) return errno == ENOENT ? NK_OK : nk_fail_errno("%s", folder);
  bool empty = true;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
    empty = empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
  closedir(directory);
  return empty ? NK_OK : nk_fail(NK_EUSAGE, "%s: the folder is not empty: name a new one", folder);
}

/* ---- Files ---- */

/* Where `to` is NULL, `from` is opened only. */
static int copy_file(const char *from, const char *to) {
  struct nk_file *file = nk_file_open(from);
  struct nk_output *output = NULL;
  int code = file == NULL ? nk_error_code() : NK_OK;
  if (code == NK_OK && to != NULL) {
    output = nk_output_open(to, NK_OUTPUT_BINARY);
    code = output == NULL ? nk_error_code() : nk_output_write(output, file->data, file->size);
    if (code == NK_OK) code = nk_output_commit(output);
  }
  nk_output_free(output);
  nk_file_free(file);
  return code;
}

static int copy_entry(const char *source, const char *target, const char *name) {
  char *from = join(source, name), *to = target != NULL ? join(target, name) : NULL;
  struct stat status;
  int code = from == NULL || (to == NULL && target != NULL) ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && stat(from, &status) != 0)
    code = nk_fail_errno("%s", from);
  else if (code == NK_OK && S_ISREG(status.st_mode))
    code = copy_file(from, to);
  nk_free(from);
  nk_free(to);
  return code;
}

/* Where the target is NULL, it finds out whether the files can be read. */
static int copy_files(const char *source, const char *target) {
  DIR *directory = opendir(source);
  if (directory == NULL) return nk_fail_errno("%s", source);
  int code = NK_OK;
  for (struct dirent *entry; code == NK_OK && (entry = readdir(directory)) != NULL;)
    if (is_copied(entry->d_name)) code = copy_entry(source, target, entry->d_name);
  closedir(directory);
  return code;
}

static int write_weights(const struct nk_model *model, const struct nk_model_write_options *options,
                         const char *target) {
  char *path = join(target, WEIGHTS);
  struct nk_output *output = path == NULL ? NULL : nk_output_open(path, NK_OUTPUT_BINARY);
  int code = output == NULL ? nk_error_code() : nk_model_write(model, options, output);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_free(path);
  return code;
}

/* ---- The folder in the making ---- */

struct part {
  char *path;     /* FOLDER.noken-part */
  DIR *directory; /* locked, and of no files but those that are written; NULL before */
};

/* Whether all files have names that are written: only then is it what a process left. */
static int check_part(const char *path, DIR *directory) {
  rewinddir(directory);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !is_written(name))
      return nk_fail(NK_EUSAGE, "%s: holds '%s', not a file of a folder in the making: rename it",
                     path, name);
  }
  return NK_OK;
}

/* Whether the folder that is open still has the path: a process that had locked it may have renamed
 * it to its own name, or removed it. */
static bool is_at(const char *path, DIR *directory) {
  struct stat named, opened;
  return lstat(path, &named) == 0 && fstat(dirfd(directory), &opened) == 0 &&
         named.st_dev == opened.st_dev && named.st_ino == opened.st_ino;
}

static int lock_part(const char *target, const char *path, DIR *directory) {
  bool locked = flock(dirfd(directory), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
  if (!locked || !is_at(path, directory))
    return nk_fail(NK_EUSAGE, "%s: another process writes this folder", target);
  return check_part(path, directory);
}

/* Opens the folder itself, not one that a link names. NULL on failure. */
static DIR *open_directory(const char *path) {
  int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *directory = descriptor >= 0 ? fdopendir(descriptor) : NULL;
  if (directory != NULL) return directory;
  bool other = descriptor < 0 && (errno == ENOTDIR || errno == ELOOP);
  if (other)
    nk_fail(NK_EUSAGE, "%s: not a folder: rename it", path);
  else
    nk_fail_errno("%s", path);
  if (descriptor >= 0) close(descriptor);
  return NULL;
}

/* False with errno where a file stays. */
static bool remove_files(const struct part *part) {
  bool all = true;
  rewinddir(part->directory);
  for (struct dirent *entry; (entry = readdir(part->directory)) != NULL && all;)
    all = !is_written(entry->d_name) || unlinkat(dirfd(part->directory), entry->d_name, 0) == 0;
  return all;
}

/* Makes the folder, or takes what a process that was killed has left, without its files. */
static int open_part(const char *target, struct part *part) {
  *part = (struct part){.path = extend(target, PART, "")};
  if (part->path == NULL) return NK_EMEMORY;
  bool made = mkdir(part->path, 0777) == 0;
  if (!made && errno != EEXIST) return nk_fail_errno("%s", target);
  DIR *directory = open_directory(part->path);
  if (directory == NULL) {
    if (made) rmdir(part->path);
    return nk_error_code();
  }
  int code = lock_part(target, part->path, directory);
  if (code != NK_OK) {
    closedir(directory);
    return code;
  }
  part->directory = directory;
  return remove_files(part) ? NK_OK : nk_fail_errno("%s", part->path);
}

/* Removes the folder unless it was renamed. The error of before stays. */
static void close_part(struct part *part, bool renamed) {
  if (part->directory != NULL) {
    if (!renamed) {
      remove_files(part);
      rmdir(part->path);
    }
    closedir(part->directory);
  }
  nk_free(part->path);
}

/* ---- The whole ---- */

int cli_check_model_folder(const struct nk_model *model, const char *folder) {
  const struct nk_model_write_options options = {.format = NK_MODEL_SAFETENSORS,
                                                 .check_only = true};
  struct part part = {0};
  char *target = extend(folder, "", "");
  int code = target == NULL ? NK_EMEMORY : check_source(model);
  if (code == NK_OK) code = check_target(target);
  if (code == NK_OK) code = nk_model_write(model, &options, NULL);
  if (code == NK_OK) code = copy_files(nk_model_folder(model), NULL);
  if (code == NK_OK) code = open_part(target, &part);
  close_part(&part, false);
  nk_free(target);
  return code;
}

int cli_write_model_folder(const struct nk_model *model,
                           const struct nk_model_write_options *options, const char *folder) {
  struct part part = {0};
  bool renamed = false;
  char *target = extend(folder, "", "");
  int code = target == NULL ? NK_EMEMORY : check_source(model);
  if (code == NK_OK) code = check_target(target);
  if (code == NK_OK) code = open_part(target, &part);
  if (code == NK_OK) code = copy_files(nk_model_folder(model), part.path);
  if (code == NK_OK) code = write_weights(model, options, part.path);
  if (code == NK_OK) {
    renamed = rename(part.path, target) == 0;
    if (!renamed) code = nk_fail_errno("%s", target);
  }
  close_part(&part, renamed);
  nk_free(target);
  return code;
}
