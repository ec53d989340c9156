/* Folders of models. The weights come last, so that what a killed process leaves behind, under
 * another name, does not look whole either. */
#include "cli/model_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char WEIGHTS[] = "model.safetensors";

/* ---- Paths ---- */

/* "FOLDER/NAME", or "FOLDER" without its last slashes; free with nk_free. */
static char *join(const char *folder, const char *name) {
  struct nk_buffer path = {0};
  size_t n = strlen(folder);
  while (n > 1 && folder[n - 1] == '/') n--;
  nk_buffer_append(&path, folder, n);
  if (name != NULL) nk_buffer_printf(&path, "/%s", name);
  char *copy = path.failed ? NULL : nk_strndup(path.data, path.size);
  if (path.failed) nk_fail(NK_EMEMORY, "%s: out of memory", folder);
  nk_buffer_free(&path);
  return copy;
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

/* ---- Checks ---- */

static int check_source(const struct nk_model *model) {
  const char *folder = nk_model_folder(model);
  struct stat status;
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

static int copy_file(const char *from, const char *to) {
  struct nk_file *file = nk_file_open(from);
  struct nk_output *output = file == NULL ? NULL : nk_output_open(to, NK_OUTPUT_BINARY);
  int code = output == NULL ? nk_error_code() : nk_output_write(output, file->data, file->size);
  if (code == NK_OK) code = nk_output_commit(output);
  nk_output_free(output);
  nk_file_free(file);
  return code;
}

static int copy_entry(const char *source, const char *target, const char *name) {
  char *from = join(source, name), *to = join(target, name);
  struct stat status;
  int code = from == NULL || to == NULL ? NK_EMEMORY : NK_OK;
  if (code == NK_OK && stat(from, &status) != 0)
    code = nk_fail_errno("%s", from);
  else if (code == NK_OK && S_ISREG(status.st_mode))
    code = copy_file(from, to);
  nk_free(from);
  nk_free(to);
  return code;
}

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

/* The error of before stays. */
static void remove_folder(const char *folder) {
  DIR *directory = opendir(folder);
  for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;)
    unlinkat(dirfd(directory), entry->d_name, 0);
  if (directory != NULL) closedir(directory);
  rmdir(folder);
}

/* ---- The whole ---- */

int cli_check_model_folder(const struct nk_model *model, const char *folder) {
  char *target = join(folder, NULL);
  int code = target == NULL ? NK_EMEMORY : check_source(model);
  if (code == NK_OK) code = check_target(target);
  nk_free(target);
  return code;
}

int cli_write_model_folder(const struct nk_model *model,
                           const struct nk_model_write_options *options, const char *folder) {
  char part[32];
  struct nk_buffer temporary = {0};
  bool made = false;
  char *target = join(folder, NULL);
  int code = target == NULL ? NK_EMEMORY : cli_check_model_folder(model, target);
  if (code != NK_OK) goto done;
  snprintf(part, sizeof part, ".%ld.part", (long)getpid());
  nk_buffer_printf(&temporary, "%s%s", target, part);
  if (temporary.failed) code = nk_fail(NK_EMEMORY, "%s: out of memory", target);
  if (code != NK_OK) goto done;
  made = mkdir(temporary.data, 0777) == 0;
  if (!made) code = nk_fail_errno("%s", target);
  if (code == NK_OK) code = copy_files(nk_model_folder(model), temporary.data);
  if (code == NK_OK) code = write_weights(model, options, temporary.data);
  if (code == NK_OK && rename(temporary.data, target) != 0) code = nk_fail_errno("%s", target);
  if (code != NK_OK && made) remove_folder(temporary.data);

done:
  nk_buffer_free(&temporary);
  nk_free(target);
  return code;
}
