"""python -m fsv2v_cli"""

from __future__ import annotations

from fsv2v_cli.main import main

if __name__ == "__main__":
    main()
