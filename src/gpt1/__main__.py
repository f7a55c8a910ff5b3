"""`python -m gpt1`, and `torchrun -m gpt1` on several processes."""

from gpt1.cli import main

if __name__ == "__main__":
    main()
