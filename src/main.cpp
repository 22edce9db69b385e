#include "cli/verb.h"

int main(int argc, char** argv) { return nibble::cli::main(argc, argv); }
