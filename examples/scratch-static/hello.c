#include <stdio.h>

int main(void) {
    puts("Hello from a static binary on scratch.");
    return 0;
}
