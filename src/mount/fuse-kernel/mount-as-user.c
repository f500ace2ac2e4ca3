/*
 * Mounts for a user without privilege and becomes the program that serves the mount:
 *
 *   mount-as-user with-parent|alone OPTIONS DIRECTORY PROGRAM ARGUMENTS...
 *
 * The set-user-ID program fusermount3 mounts, and hands the descriptor of /dev/fuse over a Unix
 * socket whose number it finds in _FUSE_COMMFD (libfuse, util/fusermount.c). To take it needs
 * recvmsg(2), which Node does not have; a descriptor that is inherited it can use. So this runs
 * first, and PROGRAM finds "DESCRIPTOR DIRECTORY" in MOOTFS_FUSE_MOUNT. "with-parent": PROGRAM gets
 * SIGTERM when the process that started this one ends, in whatever way.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A prerequisite is missing; see src/cli/exit.ts. */
enum { EXIT_PREREQUISITE = 5, ENVIRONMENT_BYTES_MAX = 4096 + 32 };

static int fail(const char *what) {
  fprintf(stderr, "mootfs: %s: %s\n", what, strerror(errno));
  return EXIT_PREREQUISITE;
}

static void run_fusermount(int socket, char *options, char *directory) {
  char number[16];
  snprintf(number, sizeof number, "%d", socket);
  setenv("_FUSE_COMMFD", number, 1);
  execlp("fusermount3", "fusermount3", "-o", options, "--", directory, (char *)NULL);
  execlp("fusermount", "fusermount", "-o", options, "--", directory, (char *)NULL);
  fprintf(stderr, "mootfs: mounting without root needs fusermount3 (Debian: apt-get install fuse3)\n");
  _exit(EXIT_PREREQUISITE);
}

/* -1: the other end has closed the socket without a descriptor. */
static int receive_descriptor(int socket) {
  char byte;
  union {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec data = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {.msg_iov = &data,
                           .msg_iovlen = 1,
                           .msg_control = control.bytes,
                           .msg_controllen = sizeof control.bytes};
  ssize_t received;
  do received = recvmsg(socket, &message, 0);
  while (received < 0 && errno == EINTR);
  struct cmsghdr *header = received > 0 ? CMSG_FIRSTHDR(&message) : NULL;
  if (header == NULL || header->cmsg_type != SCM_RIGHTS) return -1;
  int descriptor;
  memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
  return descriptor;
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: mount-as-user with-parent|alone OPTIONS DIRECTORY PROGRAM ...\n");
    return 2;
  }
  char *options = argv[2], *directory = argv[3], **program = argv + 4;
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return fail("socketpair");
  pid_t parent = getppid();
  pid_t child = fork();
  if (child < 0) return fail("fork");
  if (child == 0) {
    close(ends[0]);
    run_fusermount(ends[1], options, directory);
  }
  close(ends[1]);
  int descriptor = receive_descriptor(ends[0]);
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  /* fusermount3 has said why. */
  if (descriptor < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return EXIT_PREREQUISITE;

  char found[ENVIRONMENT_BYTES_MAX];
  int length = snprintf(found, sizeof found, "%d %s", descriptor, directory);
  if (length < 0 || (size_t)length >= sizeof found) {
    errno = ENAMETOOLONG;
    return fail(directory);
  }
  setenv("MOOTFS_FUSE_MOUNT", found, 1);
  if (strcmp(argv[1], "with-parent") == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) return EXIT_PREREQUISITE;
  }
  execv(program[0], program);
  return fail(program[0]);
}
