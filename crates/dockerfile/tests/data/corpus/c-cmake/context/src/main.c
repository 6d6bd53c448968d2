#include <stdio.h>
int answer(void);
int main(void) { printf("tool: %d\n", answer()); return 0; }
