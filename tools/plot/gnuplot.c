/* The call of gnuplot: the script with its data is its standard input, the picture its standard
 * output. Where the templates are. */
#include <noken/base.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/process.h"
#include "plot/internal.h"

/* ---- gnuplot ---- */

/* The last line of text that has a message, if it is shorter than size. "" where there is none. */
static void last_line(struct nk_buffer *text, char *line, size_t size) {
  line[0] = 0;
  char *rest = text->size > 0 ? text->data : NULL;
  for (char *piece; (piece = strsep(&rest, "\n")) != NULL;) {
    piece += strspn(piece, " \t");
    if (*piece == 0 || *piece == '^' || strlen(piece) >= size) continue;
    memcpy(line, piece, strlen(piece) + 1);
  }
}

/* Cairo writes the date into a PDF: "/CreationDate (D:20260102030405Z)". It is replaced by a fixed
 * one, so that the same table gives the same bytes. */
static void remove_date(struct nk_buffer *picture) {
  static const char key[] = "/CreationDate (D:", fixed[] = "20000101000000";
  size_t length = sizeof key - 1, digits = sizeof fixed - 1;
  for (char *p = picture->data, *end = p + picture->size;;) {
    p = memmem(p, (size_t)(end - p), key, length);
    if (p == NULL || (size_t)(end - p) < length + digits) return;
    memcpy(p + length, fixed, digits);
    p += length;
  }
}

int plot_gnuplot(const struct nk_buffer *script, struct nk_buffer *picture) {
  static const char *const command[] = {"gnuplot", "--default-settings", NULL};
  struct nk_buffer errors = {0};
  char line[256];
  int status;
  int code = cli_process_run(command, script, picture, &errors, &status);
  if (code == NK_ENOTFOUND)
    code = nk_fail(NK_EIO, "gnuplot is not installed (Debian: gnuplot-nox)");
  if (code != NK_OK) goto done;
  last_line(&errors, line, sizeof line);
  const char *reason = line[0] != 0 ? line : "no message";
  if (WIFSIGNALED(status))
    code = nk_fail(NK_EIO, "gnuplot was ended by signal %d: %s", WTERMSIG(status), reason);
  else if (WEXITSTATUS(status) != 0)
    code = nk_fail(NK_EIO, "gnuplot failed: %s", reason);
  else if (picture->size == 0)
    code = nk_fail(NK_EIO, "gnuplot drew nothing: %s", reason);
  else
    remove_date(picture);
done:
  nk_buffer_free(&errors);
  return code;
}

/* ---- Templates ---- */

static char *path_in(const char *folder, size_t length, const char *middle, const char *name) {
  struct nk_buffer path = {0};
  nk_buffer_append(&path, folder, length);
  nk_buffer_printf(&path, "%s/%s", middle, name);
  char *copy = path.failed ? NULL : nk_strdup(path.data);
  nk_buffer_free(&path);
  return copy;
}

/* The template in share/noken/plots beside the program's folder: an installed tree and the build
 * folder have the same layout. NULL where there is none. */
static char *path_beside_program(const char *name) {
  char *real = realpath("/proc/self/exe", NULL);
  const char *slash = real == NULL ? NULL : strrchr(real, '/');
  char *path = NULL;
  if (slash != NULL) path = path_in(real, (size_t)(slash - real), "/../share/noken/plots", name);
  if (path != NULL && access(path, R_OK) != 0) {
    nk_free(path);
    path = NULL;
  }
  free(real);
  return path;
}

char *plot_template_path(const char *name) {
  const char *folder = getenv("NOKEN_PLOTS");
  char *path = NULL;
  if (folder == NULL || *folder == 0) {
    path = path_beside_program(name);
    if (path != NULL) return path;
    folder = NOKEN_PLOTS_DIR;
  }
  path = path_in(folder, strlen(folder), "", name);
  if (path == NULL || access(path, R_OK) == 0) return path;
  nk_fail(NK_ENOTFOUND, "%s: no such template (NOKEN_PLOTS names the templates' folder)", path);
  nk_free(path);
  return NULL;
}
