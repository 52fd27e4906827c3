"""Write what is generated from the code: `make reference`."""

from cli.reference.files import generated


def main() -> None:
    """Write every file that differs, and name it."""
    for path, text in generated().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
