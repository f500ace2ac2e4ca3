/*
 * Keeps the first page of a file mapped, shared, and does with it what its standard input says, one a line: "read"
 * prints the text there, "write TEXT" puts it there, "sync" is msync(2) with MS_SYNC. It answers each.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define BYTES 4096

int main(int count, char **arguments)
{
	char line[BYTES];
	int file = count == 2 ? open(arguments[1], O_RDWR) : -1;
	char *page = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (page == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, "read") == 0)
			printf("%.*s\n", (int)strcspn(page, "\n"), page);
		else if (strncmp(line, "write ", 6) == 0)
			printf("%zu bytes\n", strlen(strcpy(page, line + 6)));
		else if (strcmp(line, "sync") == 0)
			puts(msync(page, BYTES, MS_SYNC) == 0 ? "synced" : "failed");
	}
	return 0;
}
