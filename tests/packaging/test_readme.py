"""README and CONTRIBUTING name code that exists: the README's example is the one that the tests run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_readme_shows_the_quickstart_as_it_is() -> None:
    _, _, script = (ROOT / "examples" / "quickstart.py").read_text().partition("\n\n")
    assert f"```python\n{script}```" in (ROOT / "README.md").read_text()


def test_the_query_of_the_readme_is_the_example_that_the_tests_run() -> None:
    query = "".join((ROOT / "examples" / "export.sql").read_text().splitlines(keepends=True)[1:])
    assert f"```sql\n{query}```" in (ROOT / "README.md").read_text()


def test_the_files_of_the_usual_changes_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Ten usual changes")[2].partition("\n## ")[0]
    paths = re.findall(r"`((?:core|services|migrations|tests)/[^`]*)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
