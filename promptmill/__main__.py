"""`python -m promptmill` and the `promptmill` command.

The only file of this package that imports `flows`. In a wheel `flows` and `tasks` lie inside this package, and the build
renames the imports (deployments/wheel_hook.py).
"""

from flows.__main__ import command

__all__ = ["command"]

if __name__ == "__main__":
    command()
