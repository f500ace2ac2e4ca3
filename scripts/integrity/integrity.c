/*
 * Works on files of its own, at random, through one or more mounts of the same tree, and holds every
 * byte, size and link count that it is told against a model in its memory.
 *
 * Arguments: SEED PROCESSES SECONDS OPERATIONS DIRECTORY...   (OPERATIONS: of all processes, 0: no end.)
 * The directories are the same one on different mounts. Prints how many operations were made; ends
 * with 1 and says what differed, with the last operations before it, when something did.
 *
 * What it relies on is what mounts promise: on one mount a change is seen at once; on another when
 * the file was closed or synced, by whoever opens it then; names and link counts at once everywhere.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOUNTS_MAX 8
#define PROCESSES_MAX 64
#define NAMES 8
/* The first names are in the process's own directory, the others in a directory below, which moves. */
#define NAMES_ABOVE 4
#define INODES (NAMES + 1)
#define FILE_MAX (400 * 1024)
#define PIECE_MAX (96 * 1024)
#define SLOT 100
#define SLOTS 64
#define RECORD 32
#define LINES 48
#define LINE 160

static const char *mounts[MOUNTS_MAX];
static int mount_count, process_count, self;
static uint64_t random_state;
static long operations;

/* The model. */
static struct inode {
	unsigned char *bytes; /* FILE_MAX of them; beyond the size all zero */
	long size;
	int links;
} inodes[INODES];
static int names[NAMES]; /* an inode, or -1 */
static int below_moved;	 /* which of its two names the directory below has */
static unsigned char slots[SLOTS];
static long records;

static unsigned char piece[PIECE_MAX], seen[FILE_MAX];
static char lines[LINES][LINE];
static long line_count;

/* Says what is done now; kept to be told when something differs. */
__attribute__((format(printf, 1, 2))) static void now_doing(const char *format, ...)
{
	va_list of;
	va_start(of, format);
	vsnprintf(lines[line_count++ % LINES], LINE, format, of);
	va_end(of);
	operations++;
}

__attribute__((format(printf, 1, 2), noreturn)) static void differs(const char *format, ...)
{
	int error = errno;
	va_list of;
	va_start(of, format);
	fprintf(stderr, "DIFFERENCE in process %d after %ld operations: ", self, operations);
	vfprintf(stderr, format, of);
	va_end(of);
	fprintf(stderr, " (errno %d: %s)\nthe last operations:\n", error, strerror(error));
	long first = line_count > LINES ? line_count - LINES : 0;
	for (long i = first; i < line_count; i++)
		fprintf(stderr, "  %s\n", lines[i % LINES]);
	exit(1);
}

static uint32_t next_random(void)
{
	random_state += 0x9e3779b97f4a7c15ull;
	uint64_t z = random_state;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static long below(long n) { return n <= 0 ? 0 : (long)(next_random() % (uint64_t)n); }

static const char *any_mount(void) { return mounts[below(mount_count)]; }

static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Several paths may be in use at once. */
static const char *path_of(const char *mount, int name)
{
	static char paths[4][512];
	static int next;
	char *path = paths[next++ % 4];
	if (name < NAMES_ABOVE)
		snprintf(path, sizeof paths[0], "%s/p%d/f%d", mount, self, name);
	else
		snprintf(path, sizeof paths[0], "%s/p%d/%s/f%d", mount, self, below_moved ? "moved" : "sub", name);
	return path;
}

static void compare(const char *what, const unsigned char *found, struct inode *of, long offset, long length)
{
	if (memcmp(found, of->bytes + offset, (size_t)length) == 0)
		return;
	long at = 0;
	while (found[at] == of->bytes[offset + at])
		at++;
	long end = length;
	while (found[end - 1] == of->bytes[offset + end - 1])
		end--;
	errno = 0;
	differs("%s: bytes %ld to %ld of [%ld, %ld): %02x instead of %02x first", what, offset + at, offset + end - 1,
		offset, offset + length, found[at], of->bytes[offset + at]);
}

static void check_stat(const struct stat *s, struct inode *of, const char *what)
{
	errno = 0;
	if (s->st_size != of->size)
		differs("%s: size %ld instead of %ld", what, (long)s->st_size, of->size);
	if ((int)s->st_nlink != of->links)
		differs("%s: %d links instead of %d", what, (int)s->st_nlink, of->links);
}

static void check_open(int fd, struct inode *of)
{
	struct stat s;
	now_doing("fstat");
	if (fstat(fd, &s) < 0)
		differs("fstat");
	check_stat(&s, of, "fstat");
}

/* Bytes that tell where they were meant to be. */
static void make_piece(long length)
{
	unsigned char start = (unsigned char)next_random();
	for (long i = 0; i < length; i++)
		piece[i] = (unsigned char)(start + i / 7 + i);
}

static void resize(struct inode *of, long size)
{
	if (size < of->size)
		memset(of->bytes + size, 0, (size_t)(of->size - size));
	of->size = size;
}

static void wrote(struct inode *of, long offset, long length)
{
	memcpy(of->bytes + offset, piece, (size_t)length);
	if (offset + length > of->size)
		of->size = offset + length;
}

/* Operations on an open file. */

static void do_read(int fd, struct inode *of)
{
	long offset = below(of->size + 1000), length = 1 + below(below(4) == 0 ? FILE_MAX : PIECE_MAX);
	long expected = offset >= of->size ? 0 : of->size - offset;
	if (expected > length)
		expected = length;
	now_doing("read [%ld, +%ld)", offset, length);
	long got = 0, n;
	while (got < length && (n = pread(fd, seen + got, (size_t)(length - got), offset + got)) != 0) {
		if (n < 0)
			differs("read at %ld", offset + got);
		got += n;
	}
	errno = 0;
	if (got != expected)
		differs("read at %ld gave %ld bytes instead of %ld", offset, got, expected);
	compare("read", seen, of, offset, got);
}

static void do_write(int fd, struct inode *of, int append)
{
	long length = 1 + below(below(3) == 0 ? PIECE_MAX : 5000);
	long offset = append ? of->size : below(FILE_MAX - length);
	if (offset + length > FILE_MAX)
		return;
	make_piece(length);
	now_doing("%s [%ld, +%ld)", append ? "append" : "write", offset, length);
	for (long done = 0, n; done < length; done += n) {
		n = append ? write(fd, piece + done, (size_t)(length - done))
			   : pwrite(fd, piece + done, (size_t)(length - done), offset + done);
		if (n <= 0)
			differs("write at %ld", offset + done);
	}
	wrote(of, offset, length);
}

static void do_map(int fd, struct inode *of, int change)
{
	if (of->size == 0)
		return;
	long offset = below(of->size), length = 1 + below(PIECE_MAX);
	if (offset + length > of->size)
		length = of->size - offset;
	now_doing("%s through a mapping [%ld, +%ld)", change ? "write" : "read", offset, length);
	unsigned char *map = mmap(NULL, (size_t)of->size, change ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		differs("mmap");
	if (change) {
		make_piece(length);
		memcpy(map + offset, piece, (size_t)length);
		wrote(of, offset, length);
		if (below(2) == 0 && msync(map, (size_t)of->size, MS_SYNC) < 0)
			differs("msync");
	} else
		compare("a mapping", map + offset, of, offset, length);
	if (munmap(map, (size_t)of->size) < 0)
		differs("munmap");
}

static void do_truncate(int fd, struct inode *of)
{
	long size = below(3) == 0 ? 0 : below(FILE_MAX);
	now_doing("truncate to %ld", size);
	if (ftruncate(fd, size) < 0)
		differs("ftruncate");
	resize(of, size);
}

static void do_allocate(int fd, struct inode *of)
{
	static const struct {
		const char *name;
		int mode, clears, extends;
	} kinds[] = {
		{"punch", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 0},
		{"zero", FALLOC_FL_ZERO_RANGE, 1, 1},
		{"zero and keep the size", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 1, 0},
		{"allocate", 0, 0, 1},
	};
	int kind = (int)below(4);
	long offset = below(FILE_MAX), length = 1 + below(PIECE_MAX);
	if (offset + length > FILE_MAX)
		length = FILE_MAX - offset;
	now_doing("%s [%ld, +%ld)", kinds[kind].name, offset, length);
	if (fallocate(fd, kinds[kind].mode, offset, length) < 0) {
		/* A local filesystem need not know all of them. */
		if (errno == EOPNOTSUPP)
			return;
		differs("fallocate");
	}
	if (kinds[kind].clears)
		memset(of->bytes + offset, 0, (size_t)length);
	if (kinds[kind].extends && offset + length > of->size)
		of->size = offset + length;
}

static void do_copy(const char *mount, int fd, struct inode *of)
{
	int name = (int)below(NAMES);
	if (names[name] < 0 || &inodes[names[name]] == of)
		return;
	struct inode *from = &inodes[names[name]];
	long at = below(from->size), length = 1 + below(PIECE_MAX), to = below(FILE_MAX - length);
	if (at + length > from->size)
		length = from->size - at;
	now_doing("copy [%ld, +%ld) of f%d to %ld", at, length, name, to);
	int source = open(path_of(mount, name), O_RDONLY);
	if (source < 0)
		differs("open of the source");
	while (length > 0) {
		off_t in = at, out = to;
		ssize_t n = copy_file_range(source, &in, fd, &out, (size_t)length, 0);
		if (n <= 0)
			differs("copy_file_range gave %ld", (long)n);
		memcpy(piece, from->bytes + at, (size_t)n);
		wrote(of, to, n);
		at += n, to += n, length -= n;
	}
	if (close(source) < 0)
		differs("close of the source");
}

/* Operations on names: seen on every mount as soon as they have returned. */

static void drop(int name)
{
	inodes[names[name]].links--;
	names[name] = -1;
}

static void do_unlink(int name)
{
	const char *mount = any_mount();
	now_doing("unlink f%d on %s", name, mount);
	if (unlink(path_of(mount, name)) < 0)
		differs("unlink f%d", name);
	drop(name);
}

static void do_rename(int name)
{
	const char *mount = any_mount();
	int to = (int)below(NAMES);
	if (to == name)
		return;
	if (names[to] >= 0 && below(3) == 0) {
		now_doing("exchange f%d and f%d on %s", name, to, mount);
		if (renameat2(AT_FDCWD, path_of(mount, name), AT_FDCWD, path_of(mount, to), RENAME_EXCHANGE) < 0)
			differs("exchange");
		int inode = names[to];
		names[to] = names[name];
		names[name] = inode;
		return;
	}
	now_doing("rename f%d to f%d on %s", name, to, mount);
	if (rename(path_of(mount, name), path_of(mount, to)) < 0)
		differs("rename");
	if (names[to] == names[name])
		return; /* POSIX: two names of one file both stay */
	if (names[to] >= 0)
		drop(to);
	names[to] = names[name];
	names[name] = -1;
}

static void do_link(int name)
{
	const char *mount = any_mount();
	int to = (int)below(NAMES);
	now_doing("link f%d to f%d on %s", name, to, mount);
	int done = link(path_of(mount, name), path_of(mount, to));
	if (names[to] >= 0) {
		if (done == 0 || errno != EEXIST)
			differs("link over a name");
		return;
	}
	if (done < 0)
		differs("link");
	names[to] = names[name];
	inodes[names[to]].links++;
}

static void move_directory(void)
{
	const char *mount = any_mount();
	char from[512], to[512];
	now_doing("move the directory below on %s", mount);
	snprintf(from, sizeof from, "%s/p%d/%s", mount, self, below_moved ? "moved" : "sub");
	snprintf(to, sizeof to, "%s/p%d/%s", mount, self, below_moved ? "sub" : "moved");
	if (rename(from, to) < 0)
		differs("rename of a directory");
	below_moved = !below_moved;
}

static void look_at_names(void)
{
	const char *mount = any_mount();
	for (int name = 0; name < NAMES; name++) {
		struct stat s;
		now_doing("stat f%d on %s", name, mount);
		int done = stat(path_of(mount, name), &s);
		if (names[name] < 0) {
			if (done == 0 || errno != ENOENT)
				differs("f%d is there", name);
		} else if (done < 0)
			differs("stat f%d", name);
		else
			check_stat(&s, &inodes[names[name]], "stat");
	}
}

/* A file is opened on one mount, worked on, and closed. */
static void work_on_file(void)
{
	const char *mount = any_mount();
	int name = (int)below(NAMES), append = below(6) == 0;
	int flags = O_RDWR | (append ? O_APPEND : 0);
	struct inode *of;
	if (names[name] < 0) {
		int free = 0;
		while (inodes[free].links > 0)
			free++;
		of = &inodes[free];
		resize(of, 0);
		of->links = 1;
		names[name] = free;
		flags |= O_CREAT | O_EXCL;
	} else
		of = &inodes[names[name]];
	if (below(20) == 0) {
		flags |= O_TRUNC;
		resize(of, 0);
	}
	now_doing("open f%d on %s%s%s%s", name, mount, append ? ", append" : "", flags & O_CREAT ? ", create" : "",
		  flags & O_TRUNC ? ", truncate" : "");
	int fd = open(path_of(mount, name), flags, 0644);
	if (fd < 0)
		differs("open");
	for (long left = 1 + below(16); left > 0; left--) {
		long dice = below(100);
		if (dice < 28)
			do_read(fd, of);
		else if (dice < 54)
			do_write(fd, of, append);
		else if (dice < 62)
			do_map(fd, of, 1);
		else if (dice < 68)
			do_map(fd, of, 0);
		else if (dice < 74)
			do_truncate(fd, of);
		else if (dice < 82)
			do_allocate(fd, of);
		else if (dice < 88 && !append)
			do_copy(mount, fd, of);
		else if (dice < 93) {
			now_doing("fsync");
			if (fsync(fd) < 0)
				differs("fsync");
		} else if (dice < 96)
			check_open(fd, of);
		else if (dice < 98 && names[name] >= 0 && &inodes[names[name]] == of)
			do_unlink(name); /* and it lives on, while it is open */
		else if (names[name] >= 0)
			do_rename(name);
	}
	check_open(fd, of);
	now_doing("close");
	if (close(fd) < 0)
		differs("close");
}

static void work_on_names(void)
{
	int name = (int)below(NAMES);
	long dice = below(10);
	if (dice == 0)
		move_directory();
	else if (dice < 3)
		look_at_names();
	else if (names[name] < 0)
		return;
	else if (dice < 6)
		do_rename(name);
	else if (dice < 9)
		do_link(name);
	else
		do_unlink(name);
}

/* A file that all processes write to, each to places of its own, which lie in the same pages. */
static void work_on_shared(void)
{
	char path[512];
	unsigned char bytes[SLOT];
	const char *mount = any_mount();
	snprintf(path, sizeof path, "%s/shared", mount);
	int slot = (int)below(SLOTS);
	now_doing("write slot %d of the shared file on %s", slot, mount);
	int fd = open(path, O_RDWR);
	if (fd < 0)
		differs("open of the shared file");
	slots[slot] = (unsigned char)next_random();
	memset(bytes, slots[slot], SLOT);
	if (pwrite(fd, bytes, SLOT, ((long)slot * process_count + self) * SLOT) != SLOT)
		differs("write of the shared file");
	if (close(fd) < 0)
		differs("close of the shared file");
	mount = any_mount();
	snprintf(path, sizeof path, "%s/shared", mount);
	now_doing("read own slots of the shared file on %s", mount);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		differs("open of the shared file");
	for (int i = 0; i < SLOTS; i++) {
		if (slots[i] == 0)
			continue; /* never written, or with zeroes */
		if (pread(fd, bytes, SLOT, ((long)i * process_count + self) * SLOT) != SLOT)
			differs("read of the shared file");
		for (int k = 0; k < SLOT; k++)
			if (bytes[k] != slots[i])
				differs("byte %d of slot %d is %02x instead of %02x", k, i, bytes[k], slots[i]);
	}
	if (close(fd) < 0)
		differs("close of the shared file");
}

/* A file that all processes append to: nothing is lost, torn or twice, and each one's order is kept. */
static void work_on_log(void)
{
	char path[512], record[2 * RECORD];
	const char *mount = any_mount();
	snprintf(path, sizeof path, "%s/log", mount);
	long count = 1 + below(4);
	now_doing("append %ld records from %ld on %s", count, records, mount);
	int fd = open(path, O_WRONLY | O_APPEND);
	if (fd < 0)
		differs("open of the log");
	while (count-- > 0) {
		snprintf(record, sizeof record, "process %3d record %12ld\n", self, records++);
		if (write(fd, record, RECORD) != RECORD)
			differs("append");
	}
	if (close(fd) < 0)
		differs("close of the log");
}

static void check_log(const long *expected)
{
	for (int m = 0; m < mount_count; m++) {
		char path[512], record[RECORD + 1] = "";
		long next[PROCESSES_MAX] = {0};
		snprintf(path, sizeof path, "%s/log", mounts[m]);
		FILE *log = fopen(path, "r");
		if (log == NULL)
			differs("open of the log on %s", mounts[m]);
		while (fread(record, RECORD, 1, log) == 1) {
			int process;
			long number;
			if (sscanf(record, "process %d record %ld\n", &process, &number) != 2 || record[RECORD - 1] != '\n' ||
			    process < 0 || process >= process_count)
				differs("the log on %s has '%.31s'", mounts[m], record);
			if (number != next[process])
				differs("the log on %s has record %ld of process %d where %ld should be", mounts[m], number,
					process, next[process]);
			next[process]++;
		}
		fclose(log);
		for (int p = 0; p < process_count; p++)
			if (next[p] != expected[p])
				differs("the log on %s has %ld records of process %d instead of %ld", mounts[m], next[p], p,
					expected[p]);
	}
}

/* Everything, on every mount. */
static void check_all(void)
{
	for (int m = 0; m < mount_count; m++)
		for (int name = 0; name < NAMES; name++) {
			if (names[name] < 0)
				continue;
			struct inode *of = &inodes[names[name]];
			now_doing("read all of f%d on %s", name, mounts[m]);
			int fd = open(path_of(mounts[m], name), O_RDONLY);
			if (fd < 0)
				differs("open f%d", name);
			check_open(fd, of);
			for (long got = 0, n; got < of->size; got += n)
				if ((n = pread(fd, seen + got, (size_t)(of->size - got), got)) <= 0)
					differs("read at %ld", got);
			compare("the last read", seen, of, 0, of->size);
			if (close(fd) < 0)
				differs("close");
		}
}

/* One process's whole work; `result` gets its operations and records. */
static void work(uint64_t seed, double end, long most, long *result)
{
	char path[512];
	random_state = seed * 1000003u + (uint64_t)self;
	for (int i = 0; i < INODES; i++) {
		inodes[i].bytes = calloc(1, FILE_MAX);
		if (inodes[i].bytes == NULL)
			differs("no memory");
	}
	for (int i = 0; i < NAMES; i++)
		names[i] = -1;
	snprintf(path, sizeof path, "%s/p%d", mounts[0], self);
	if (mkdir(path, 0755) < 0)
		differs("mkdir %s", path);
	snprintf(path, sizeof path, "%s/p%d/sub", any_mount(), self);
	if (mkdir(path, 0755) < 0)
		differs("mkdir %s", path);
	while (seconds() < end && (most == 0 || operations < most)) {
		long dice = below(10);
		if (dice < 6)
			work_on_file();
		else if (dice < 8)
			work_on_names();
		else if (dice < 9)
			work_on_shared();
		else
			work_on_log();
	}
	check_all();
	result[0] = operations;
	result[1] = records;
}

static void make_file(const char *name, long size)
{
	char path[512];
	snprintf(path, sizeof path, "%s/%s", mounts[0], name);
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR, 0644);
	if (fd < 0 || ftruncate(fd, size) < 0 || close(fd) < 0)
		differs("making %s", path);
}

int main(int argc, char **argv)
{
	if (argc < 6 || argc - 5 > MOUNTS_MAX) {
		fprintf(stderr, "usage: integrity SEED PROCESSES SECONDS OPERATIONS DIRECTORY...\n");
		return 2;
	}
	uint64_t seed = strtoull(argv[1], NULL, 0);
	process_count = atoi(argv[2]);
	if (process_count < 1 || process_count > PROCESSES_MAX) {
		fprintf(stderr, "from 1 to %d processes, not %s\n", PROCESSES_MAX, argv[2]);
		return 2;
	}
	double end = seconds() + atof(argv[3]);
	long most = (atol(argv[4]) + process_count - 1) / process_count;
	while (mount_count < argc - 5) {
		mounts[mount_count] = argv[5 + mount_count];
		mount_count++;
	}
	long(*results)[2] =
		mmap(NULL, sizeof(long[PROCESSES_MAX][2]), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (results == MAP_FAILED)
		differs("no memory");
	make_file("shared", (long)SLOTS * process_count * SLOT);
	make_file("log", 0);
	pid_t children[PROCESSES_MAX];
	for (self = 0; self < process_count; self++) {
		children[self] = fork();
		if (children[self] < 0)
			differs("fork");
		if (children[self] == 0) {
			work(seed, end, most, results[self]);
			exit(0);
		}
	}
	int failed = 0, status;
	while (wait(&status) > 0) {
		if (status == 0 || failed)
			continue;
		failed = 1;
		for (int i = 0; i < process_count; i++)
			kill(children[i], SIGTERM);
	}
	if (failed)
		return 1;
	long total = 0, expected[PROCESSES_MAX];
	for (int i = 0; i < process_count; i++) {
		total += results[i][0];
		expected[i] = results[i][1];
	}
	check_log(expected);
	printf("%ld operations\n", total);
	return 0;
}
