/*
 * Makes the system calls that its standard input names, one a line, and answers a line for each:
 * "= VALUE" or "! ERRNO". What differs between any two filesystems (inode numbers, moments) comes
 * behind a '#'. Words are separated by spaces; open files have a slot from 0 to 15.
 *
 * Arguments: a directory to work in, then perhaps a user and a group to be.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WORDS_MAX 16
#define SLOTS 16
#define BYTES_MAX (4 << 20)
#define ACL_ENTRIES_MAX 64

static int slots[SLOTS];
static char *words[WORDS_MAX];
static int word_count;
static char bytes[BYTES_MAX];

static const char *word(int i) { return i < word_count ? words[i] : ""; }
static long long number(int i) { return strtoll(word(i), NULL, 0); }
static int slot(int i) { return slots[number(i) & (SLOTS - 1)]; }

static void answer(long long value)
{
	if (value < 0)
		printf("! %s\n", strerrorname_np(errno));
	else
		printf("= %lld\n", value);
}

/* FNV-1a: to say in a few characters which bytes were read. */
static uint32_t hash(const char *data, long long length)
{
	uint32_t h = 2166136261u;
	for (long long i = 0; i < length; i++)
		h = (h ^ (unsigned char)data[i]) * 16777619u;
	return h;
}

static void answer_bytes(long long length)
{
	if (length < 0)
		answer(-1);
	else
		printf("= %lld %08x\n", length, hash(bytes, length));
}

/* Bytes that are not all alike, so that a piece in a wrong place shows. */
static long long fill(int seed, int length)
{
	long long n = number(length);
	if (n > BYTES_MAX)
		n = BYTES_MAX;
	for (long long i = 0; i < n; i++)
		bytes[i] = (char)(number(seed) + i / 251);
	return n;
}

static const struct {
	const char *name;
	int flag;
} open_flags[] = {
	{"r", O_RDONLY},	   {"w", O_WRONLY},	      {"rw", O_RDWR},
	{"creat", O_CREAT},	   {"excl", O_EXCL},	      {"trunc", O_TRUNC},
	{"append", O_APPEND},	   {"direct", O_DIRECT},      {"sync", O_SYNC},
	{"dir", O_DIRECTORY},	   {"nofollow", O_NOFOLLOW},  {"tmpfile", O_TMPFILE},
	{"path", O_PATH},	   {"nonblock", O_NONBLOCK},
};

/* "rw|creat|excl" */
static int flags_of(const char *text)
{
	char copy[128];
	int flags = 0;
	snprintf(copy, sizeof copy, "%s", text);
	for (char *name = strtok(copy, "|"); name; name = strtok(NULL, "|"))
		for (size_t i = 0; i < sizeof open_flags / sizeof *open_flags; i++)
			if (strcmp(name, open_flags[i].name) == 0)
				flags |= open_flags[i].flag;
	return flags;
}

static void do_open(void)
{
	int at = number(1) & (SLOTS - 1);
	int fd = open(word(2), flags_of(word(3)), (mode_t)number(4));
	if (fd < 0) {
		answer(-1);
		return;
	}
	if (slots[at] >= 0)
		close(slots[at]);
	slots[at] = fd;
	answer(0);
}

static void do_close(void)
{
	int at = number(1) & (SLOTS - 1);
	answer(close(slots[at]));
	slots[at] = -1;
}

static void answer_stat(int fd, const char *path, int flags)
{
	struct statx s;
	if (statx(fd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0) {
		answer(-1);
		return;
	}
	long long size = S_ISDIR(s.stx_mode) ? 0 : (long long)s.stx_size;
	printf("= mode %o nlink %u uid %u gid %u size %lld rdev %u,%u #", s.stx_mode, s.stx_nlink, s.stx_uid,
	       s.stx_gid, size, s.stx_rdev_major, s.stx_rdev_minor);
	printf(" ino %llu", (unsigned long long)s.stx_ino);
	const struct {
		const char *name;
		struct statx_timestamp time;
	} times[] = {{"a", s.stx_atime}, {"m", s.stx_mtime}, {"c", s.stx_ctime}, {"b", s.stx_btime}};
	for (int i = 0; i < 4; i++)
		printf(" %s %lld.%09u", times[i].name, (long long)times[i].time.tv_sec, times[i].time.tv_nsec);
	printf(" blocks %llu", (unsigned long long)s.stx_blocks);
	printf(" btime %d\n", (s.stx_mask & STATX_BTIME) != 0);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void do_list(void)
{
	DIR *directory = opendir(word(1));
	if (!directory) {
		answer(-1);
		return;
	}
	char *names[4096];
	int count = 0;
	for (struct dirent *e = readdir(directory); e && count < 4096; e = readdir(directory))
		if (asprintf(&names[count], "%s/%d", e->d_name, e->d_type) > 0)
			count++;
	closedir(directory);
	qsort(names, count, sizeof *names, by_name);
	printf("= %d", count);
	for (int i = 0; i < count; i++) {
		printf(" %s", names[i]);
		free(names[i]);
	}
	printf("\n");
}

static struct timespec time_of(const char *text)
{
	struct timespec t = {0, 0};
	if (strcmp(text, "now") == 0)
		t.tv_nsec = UTIME_NOW;
	else if (strcmp(text, "omit") == 0)
		t.tv_nsec = UTIME_OMIT;
	else
		sscanf(text, "%ld.%ld", &t.tv_sec, &t.tv_nsec);
	return t;
}

static void do_utimens(void)
{
	struct timespec times[2] = {time_of(word(2)), time_of(word(3))};
	answer(utimensat(AT_FDCWD, word(1), times, AT_SYMLINK_NOFOLLOW));
}

static void do_listxattr(void)
{
	ssize_t length = llistxattr(word(1), bytes, sizeof bytes);
	if (length < 0) {
		answer(-1);
		return;
	}
	char *names[1024];
	int count = 0;
	for (char *at = bytes; at < bytes + length && count < 1024; at += strlen(at) + 1)
		if (strncmp(at, "security.selinux", 16) != 0)
			names[count++] = at;
	qsort(names, count, sizeof *names, by_name);
	printf("= %d", count);
	for (int i = 0; i < count; i++)
		printf(" %s", names[i]);
	printf("\n");
}

static const char *acl_name(const char *kind)
{
	return *kind == 'd' ? "system.posix_acl_default" : "system.posix_acl_access";
}

/* linux/posix_acl_xattr.h */
struct acl {
	uint32_t version;
	struct {
		uint16_t tag, permissions;
		uint32_t id;
	} entries[ACL_ENTRIES_MAX];
};

/* "setacl PATH access 1:7:0 2:5:12 …": tag, permissions, id */
static void do_setacl(void)
{
	struct acl acl = {2, {{0}}};
	int count = 0;
	for (int i = 3; i < word_count && count < ACL_ENTRIES_MAX; i++, count++) {
		unsigned tag, permissions, id;
		sscanf(word(i), "%u:%u:%u", &tag, &permissions, &id);
		acl.entries[count].tag = tag;
		acl.entries[count].permissions = permissions;
		acl.entries[count].id = tag == 2 || tag == 8 ? id : UINT32_MAX;
	}
	answer(setxattr(word(1), acl_name(word(2)), &acl, 4 + 8 * count, 0));
}

static void do_getacl(void)
{
	struct acl acl;
	ssize_t length = getxattr(word(1), acl_name(word(2)), &acl, sizeof acl);
	if (length < 0) {
		answer(-1);
		return;
	}
	printf("=");
	for (int i = 0; i < (length - 4) / 8; i++)
		printf(" %u:%u:%d", acl.entries[i].tag, acl.entries[i].permissions, (int)acl.entries[i].id);
	printf("\n");
}

/* linux/capability.h: version 2, no capabilities. */
static void do_setcap(void)
{
	uint32_t capabilities[5] = {0x02000000};
	answer(setxattr(word(1), "security.capability", capabilities, sizeof capabilities, 0));
}

static void do_linkfd(void)
{
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", slot(1));
	answer(linkat(AT_FDCWD, path, AT_FDCWD, word(2), AT_SYMLINK_FOLLOW));
}

/* Through a mapping of whole pages: the bytes of [offset, offset + length). */
static void do_map(int writes)
{
	long long offset = number(2), length = number(writes ? 4 : 3);
	long long start = offset & ~4095LL, reach = offset + length - start;
	int shared = strcmp(word(0), "mprivate") != 0;
	char *at = mmap(NULL, reach, writes ? PROT_READ | PROT_WRITE : PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE,
			slot(1), start);
	if (at == MAP_FAILED) {
		answer(-1);
		return;
	}
	/* Beyond the end of the file there is nothing to touch. */
	struct stat s;
	fstat(slot(1), &s);
	if (offset + length > s.st_size)
		length = offset < s.st_size ? s.st_size - offset : 0;
	int status = 0;
	if (writes) {
		fill(3, 4);
		memcpy(at + offset - start, bytes, length);
		status = shared ? msync(at, reach, MS_SYNC) : 0;
	}
	if (status < 0)
		answer(-1);
	else
		printf("= %lld %08x\n", length, hash(at + offset - start, length));
	munmap(at, reach);
}

static void do_flags(int sets)
{
	const int common = FS_IMMUTABLE_FL | FS_APPEND_FL | FS_NODUMP_FL | FS_NOATIME_FL;
	int flags = 0;
	int fd = open(word(1), O_RDONLY | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		answer(-1);
	} else if (sets) {
		/* Those that only one filesystem has stay as they are. */
		flags = (flags & ~common) | (int)number(2);
		answer(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	} else {
		answer(flags & common);
	}
	if (fd >= 0)
		close(fd);
}

static int thaw_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	int none = 0;
	int fd = S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ? open(path, O_RDONLY) : -1;
	(void)type, (void)ftw;
	if (fd >= 0) {
		ioctl(fd, FS_IOC_SETFLAGS, &none);
		close(fd);
	}
	return 0;
}

/* So that all can be removed, also what a link has led to outside: a directory comes before what is in it. */
static void do_thaw(void)
{
	answer(nftw("..", thaw_one, 16, FTW_PHYS));
}

static void do_copy(void)
{
	loff_t from = number(2), to = number(4);
	answer(copy_file_range(slot(1), &from, slot(3), &to, number(5), 0));
}

static void do_setfl(void)
{
	answer(fcntl(slot(1), F_SETFL, flags_of(word(2))));
}

/* Where a directory's entries lie is each filesystem's own. */
static void do_lseek(void)
{
	struct stat s;
	if (fstat(slot(1), &s) == 0 && S_ISDIR(s.st_mode))
		printf("= a directory\n");
	else
		answer(lseek(slot(1), number(2), (int)number(3)));
}

static void do_readlink(void)
{
	ssize_t length = readlink(word(1), bytes, sizeof bytes);
	if (length < 0)
		answer(-1);
	else
		printf("= %.*s\n", (int)length, bytes);
}

static short lock_type(const char *text)
{
	return *text == 's' ? F_RDLCK : *text == 'e' ? F_WRLCK : F_UNLCK;
}

/* "setlk SLOT TYPE START LENGTH", setlkw, ofd, ofdw: shared, exclusive or unlock. */
static void do_lock(int command)
{
	struct stat s;
	struct flock lock = {.l_type = lock_type(word(2)), .l_start = number(3), .l_len = number(4)};
	if (fstat(slot(1), &s) == 0 && !S_ISREG(s.st_mode))
		printf("= not a file\n");
	else
		answer(fcntl(slot(1), command, &lock));
}

/* "getlk SLOT TYPE START LENGTH": the process that is in the way is the filesystem's own to name. */
static void do_getlk(void)
{
	struct stat s;
	struct flock lock = {.l_type = lock_type(word(2)), .l_start = number(3), .l_len = number(4)};
	if (fstat(slot(1), &s) == 0 && !S_ISREG(s.st_mode))
		printf("= not a file\n");
	else if (fcntl(slot(1), F_GETLK, &lock) < 0)
		answer(-1);
	else if (lock.l_type == F_UNLCK)
		printf("= free\n");
	else
		printf("= %s %lld %lld # pid %d\n", lock.l_type == F_RDLCK ? "shared" : "exclusive",
		       (long long)lock.l_start, (long long)lock.l_len, lock.l_pid);
}

/* "flock SLOT TYPE", flockw */
static void do_flock(int flags)
{
	struct stat s;
	int type = lock_type(word(2));
	int operation = type == F_RDLCK ? LOCK_SH : type == F_WRLCK ? LOCK_EX : LOCK_UN;
	if (fstat(slot(1), &s) == 0 && !S_ISREG(s.st_mode))
		printf("= not a file\n");
	else
		answer(flock(slot(1), operation | flags));
}

static void on_alarm(int signal) { (void)signal; }

static void alarm_every(long long ms)
{
	struct timeval every = {ms / 1000, ms % 1000 * 1000};
	struct itimerval timer = {.it_interval = every, .it_value = every};
	setitimer(ITIMER_REAL, &timer, NULL);
}

static long long alarm_ms;

/*
 * "alarm MS": a signal that interrupts what the next call waits for. Again and again until it has: the
 * first may come before the call waits.
 */
static void do_alarm(void)
{
	struct sigaction action = {.sa_handler = on_alarm};
	alarm_ms = number(1);
	answer(sigaction(SIGALRM, &action, NULL));
}

static void run(void)
{
	const char *call = word(0);
	if (alarm_ms > 0)
		alarm_every(alarm_ms);
#define CALL(name) else if (strcmp(call, name) == 0)
	if (*call == 0)
		printf("= 0\n");
	CALL("open") do_open();
	CALL("close") do_close();
	CALL("read") answer_bytes(read(slot(1), bytes, number(2)));
	CALL("pread") answer_bytes(pread(slot(1), bytes, number(3), number(2)));
	CALL("write") answer(write(slot(1), bytes, fill(2, 3)));
	CALL("pwrite") answer(pwrite(slot(1), bytes, fill(3, 4), number(2)));
	CALL("lseek") do_lseek();
	CALL("ftruncate") answer(ftruncate(slot(1), number(2)));
	CALL("truncate") answer(truncate(word(1), number(2)));
	CALL("fallocate") answer(fallocate(slot(1), (int)number(2), number(3), number(4)));
	CALL("copy") do_copy();
	CALL("setfl") do_setfl();
	CALL("direct") answer(fcntl(slot(1), F_SETFL, fcntl(slot(1), F_GETFL) | O_DIRECT));
	CALL("fsync") answer(fsync(slot(1)));
	CALL("fdatasync") answer(fdatasync(slot(1)));
	CALL("syncfs") answer(syncfs(slot(1)));
	CALL("mkdir") answer(mkdir(word(1), (mode_t)number(2)));
	CALL("rmdir") answer(rmdir(word(1)));
	CALL("unlink") answer(unlink(word(1)));
	CALL("rename") answer(syscall(SYS_renameat2, AT_FDCWD, word(1), AT_FDCWD, word(2), (int)number(3)));
	CALL("link") answer(link(word(1), word(2)));
	CALL("linkfd") do_linkfd();
	CALL("symlink") answer(symlink(word(1), word(2)));
	CALL("readlink") do_readlink();
	CALL("mknod") answer(mknod(word(1), (mode_t)number(2), makedev(number(3), number(4))));
	CALL("chmod") answer(chmod(word(1), (mode_t)number(2)));
	CALL("fchmod") answer(fchmod(slot(1), (mode_t)number(2)));
	CALL("chown") answer(lchown(word(1), (uid_t)number(2), (gid_t)number(3)));
	CALL("utimens") do_utimens();
	CALL("access") answer(access(word(1), (int)number(2)));
	CALL("stat") answer_stat(AT_FDCWD, word(1), AT_SYMLINK_NOFOLLOW);
	CALL("fstat") answer_stat(slot(1), "", AT_EMPTY_PATH);
	CALL("list") do_list();
	CALL("setxattr") answer(lsetxattr(word(1), word(2), bytes, fill(3, 4), (int)number(5)));
	CALL("getxattr") answer_bytes(lgetxattr(word(1), word(2), bytes, (size_t)number(3)));
	CALL("listxattr") do_listxattr();
	CALL("removexattr") answer(lremovexattr(word(1), word(2)));
	CALL("setacl") do_setacl();
	CALL("getacl") do_getacl();
	CALL("setcap") do_setcap();
	CALL("mread") do_map(0);
	CALL("mwrite") do_map(1);
	CALL("mprivate") do_map(1);
	CALL("getflags") do_flags(0);
	CALL("setflags") do_flags(1);
	CALL("thaw") do_thaw();
	CALL("setlk") do_lock(F_SETLK);
	CALL("setlkw") do_lock(F_SETLKW);
	CALL("ofd") do_lock(F_OFD_SETLK);
	CALL("ofdw") do_lock(F_OFD_SETLKW);
	CALL("getlk") do_getlk();
	CALL("flock") do_flock(LOCK_NB);
	CALL("flockw") do_flock(0);
	CALL("alarm") do_alarm();
	CALL("pid") answer(getpid());
	CALL("umask") answer(umask((mode_t)number(1)));
	CALL("chdir") answer(chdir(word(1)));
	else printf("? %s\n", call);
	if (alarm_ms > 0 && strcmp(call, "alarm") != 0) {
		alarm_every(0);
		alarm_ms = 0;
	}
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t room = 0;
	for (int i = 0; i < SLOTS; i++)
		slots[i] = -1;
	if (argc > 3) {
		gid_t group = (gid_t)atoi(argv[3]);
		if (setgroups(1, &group) < 0 || setgid(group) < 0 || setuid((uid_t)atoi(argv[2])) < 0)
			return 1;
	}
	/* A pipe that nobody reads any more is an answer, EPIPE. */
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	if (argc < 2 || chdir(argv[1]) < 0)
		return 1;
	while (getline(&line, &room, stdin) > 0) {
		word_count = 0;
		for (char *w = strtok(line, " \n"); w && word_count < WORDS_MAX; w = strtok(NULL, " \n"))
			words[word_count++] = w;
		run();
		fflush(stdout);
	}
	return 0;
}
