"""requirements.txt as people write it: what is read, what lies in the source, and what is refused by name."""

from collections.abc import Mapping

import pytest

from stagedoor.worker.script_requirements import Local, Requirements, RequirementsError, read


def of(files: Mapping[str, str] | str) -> Requirements:
    texts = {"requirements.txt": files} if isinstance(files, str) else files
    return read(texts.get)


def test_names_versions_extras_markers_comments_and_hashes() -> None:
    found = of(
        "\ufeff# all of it\n\nnumpy\npandas[excel, parquet] >=2,<3  # rows\n"
        'tomli==2.0; python_version < "3.11"\nscipy ~= 1.11 \\\n    --hash=sha256:00ff \\\n    --hash=sha256:aa11\n'
    )
    assert found == Requirements(
        lines=[
            "numpy",
            "pandas[excel, parquet] >=2,<3",
            'tomli==2.0; python_version < "3.11"',
            "scipy ~= 1.11 --hash=sha256:00ff --hash=sha256:aa11",
        ]
    )


def test_other_files_are_read_relative_to_the_one_that_names_them() -> None:
    found = of(
        {
            "requirements.txt": "-r more/base.txt\n--requirement=more/other.txt\nlast\n",
            "more/base.txt": "first\n-rdeep.txt\n-c ../limits.txt\n./package\n",
            "more/deep.txt": "second>=1\n",
            "more/other.txt": "-c ../limits.txt\n",
            "limits.txt": "second<2\n",
        }
    )
    assert found.lines == ["first", "second>=1", "last"]
    assert found.constraints == ["second<2", "second<2"]
    assert found.local == [Local("more/package")]


@pytest.mark.parametrize(
    ("line", "local"),
    [
        (".", Local(".")),
        ("-e .", Local(".")),
        ("--editable=./lib[fast,gpu]", Local("lib", ("fast", "gpu"))),
        ("-e file:lib", Local("lib")),
        ("./wheels/thing-1.0-py3-none-any.whl", Local("wheels/thing-1.0-py3-none-any.whl")),
        ("dist/thing-1.0.tar.gz ; sys_platform == 'linux'", Local("dist/thing-1.0.tar.gz")),
    ],
)
def test_what_lies_in_the_source(line: str, local: Local) -> None:
    assert of(line) == Requirements(local=[local])


def test_options_that_need_nobody_else() -> None:
    found = of(
        "--find-links ./wheels\n-f more\n--no-index\n--pre\n--require-hashes\n--prefer-binary\nthing\n"
    )
    assert found == Requirements(
        lines=["thing"], flags=["--pre", "--require-hashes"], find_links=["wheels", "more"], no_index=True
    )


@pytest.mark.parametrize(
    "line",
    [
        "--extra-index-url https://packages.invalid/simple",
        "--index-url=https://packages.invalid/simple",
        "-i https://packages.invalid/simple",
        "--find-links https://packages.invalid/wheels",
        "--trusted-host packages.invalid",
        "--no-binary :all:",
        "git+https://packages.invalid/x",
        "-e git+ssh://packages.invalid/x#egg=x",
        "thing @ https://packages.invalid/thing.whl",
        "https://packages.invalid/thing.whl",
        "/etc/passwd",
        "../outside",
        "-r /etc/passwd",
        "-r ../outside.txt",
        "--unheard-of",
    ],
)
def test_what_is_not_supported_is_refused_by_name(line: str) -> None:
    with pytest.raises(RequirementsError) as refused:
        of(line)
    assert f"the line {line!r} of requirements.txt is not supported" in str(refused.value)
    assert str(refused.value).startswith("ClientError: InstallRequirementsError: ")


def test_a_file_that_is_missing_or_includes_itself_is_said() -> None:
    with pytest.raises(RequirementsError, match=r"says -r absent\.txt, and the source has no absent\.txt"):
        of("-r absent.txt")
    with pytest.raises(RequirementsError, match=r"requirements\.txt includes itself"):
        of("-r requirements.txt")
