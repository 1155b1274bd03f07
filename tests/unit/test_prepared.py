"""The prepared file: what goes in comes out, to the byte, and damage never goes unnoticed."""

import hashlib
import json
import stat
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import save_file

from bnstudy.data.prepared import open_prepared, write_prepared
from bnstudy.errors import UserError


def example(n: int = 6, size: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)

    def draw(high: int, *shape: int) -> torch.Tensor:
        return torch.randint(0, high, shape, generator=generator)

    return {
        "name": "example",
        "title": "An “example”",
        "classes": ("left", "right", "up"),
        "pixel_max": 255,
        "train_images": draw(256, n, 1, size, size).to(torch.uint8),
        "train_labels": draw(3, n),
        "test_images": draw(256, 3, 1, size, size).to(torch.uint8),
        "test_labels": draw(3, 3),
    }


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = example()
    sha256 = write_prepared(tmp_path / "below" / "data.safetensors", **data)
    opened = open_prepared(tmp_path / "below" / "data.safetensors")
    assert opened.sha256 == sha256
    for key, expected in data.items():
        value = getattr(opened, key)
        if isinstance(expected, torch.Tensor):
            assert value.dtype == expected.dtype
            assert torch.equal(value, expected)
        else:
            assert value == expected
    assert [p.name for p in (tmp_path / "below").iterdir()] == ["data.safetensors"]


def test_what_a_dataset_has_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="licence"):
        write_prepared(tmp_path / "data", **example(), licence="MIT")
    assert not list(tmp_path.iterdir())


def test_a_tensor_that_is_a_view_keeps_its_values(tmp_path: Path) -> None:
    data = example()
    data["train_images"] = data["train_images"].transpose(2, 3)
    write_prepared(tmp_path / "data", **data)
    assert torch.equal(open_prepared(tmp_path / "data").train_images, data["train_images"])


def test_same_data_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_prepared(tmp_path / name, **example())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_file_is_as_readable_as_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    write_prepared(tmp_path / "data", **example())
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("data", "other")}
    assert len(modes) == 1


def test_hash_changes_with_anything_that_has_a_meaning(tmp_path: Path) -> None:
    def sha256(**changes) -> str:
        return write_prepared(tmp_path / "data", **{**example(), **changes})

    images = example()["train_images"]
    hashes = {
        sha256(),
        sha256(name="other"),
        sha256(classes=("left", "up", "right")),
        sha256(split_off=True),
        sha256(train_images=images.reshape(6, 1, 1, 4), test_images=example()["test_images"].reshape(3, 1, 1, 4)),
        sha256(train_images=images.flip(0)),
        sha256(train_labels=1 - (example()["train_labels"] > 0).long()),
    }
    assert len(hashes) == 7


def test_any_flipped_bit_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "data"
    write_prepared(path, **example())
    intact = path.read_bytes()
    for position in range(len(intact)):
        damaged = bytearray(intact)
        damaged[position] ^= 1 << position % 8
        # A new file each time: the pages of an old one may still be mapped.
        damaged_path = tmp_path / f"damaged{position}"
        damaged_path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"damaged|changed"):
            open_prepared(damaged_path)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_file(tmp_path: Path, kept: int) -> None:
    write_prepared(tmp_path / "data", **example())
    (tmp_path / "short").write_bytes((tmp_path / "data").read_bytes()[:kept])
    with pytest.raises(UserError, match=r"short is damaged .* `bnstudy prepare`"):
        open_prepared(tmp_path / "short")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot open .*nowhere.* `bnstudy prepare`"):
        open_prepared(tmp_path / "nowhere")


def test_foreign_safetensors_file(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="not a prepared dataset"):
        open_prepared(tmp_path / "model.safetensors")


def test_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write"):
        write_prepared(tmp_path / "file" / "data", **example())
    write_prepared(tmp_path / "data", **example())
    before = hashlib.sha256((tmp_path / "data").read_bytes()).hexdigest()
    with pytest.raises(ValueError, match="outside"):
        write_prepared(tmp_path / "data", **{**example(), "classes": ("left", "right")})
    assert hashlib.sha256((tmp_path / "data").read_bytes()).hexdigest() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "file"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_images": torch.zeros(6, 1, 2, 2)}, "train_images is torch.float32"),
        ({"test_labels": torch.zeros(3, dtype=torch.int32)}, "test_labels is torch.int32"),
        ({"train_images": torch.zeros(6, 2, 2, dtype=torch.uint8)}, r"must be \(N, C, H, W\)"),
        ({"train_labels": torch.zeros(5, dtype=torch.int64)}, r"labels \(N,\)"),
        ({"test_labels": torch.tensor([0, 1, 3])}, r"outside 0\.\.2"),
        ({"test_labels": torch.tensor([0, -1, 2])}, r"outside 0\.\.2"),
        ({"pixel_max": 16}, "brighter than 16"),
    ],
)
def test_nonsense_is_not_written(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_prepared(tmp_path / "data", **{**example(), **changes})
    assert list(tmp_path.iterdir()) == []


def forge(path: Path, fields: dict | str, tensors: dict, **more: torch.Tensor) -> None:
    """Write what `write_prepared` would refuse, with the right hash."""
    told = fields if isinstance(fields, str) else json.dumps(fields)
    sha256 = hashlib.sha256(told.encode())
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        sha256.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        sha256.update(tensors[key].contiguous().view(torch.uint8).numpy())
    header = {"sha256": sha256.hexdigest(), "description": told}
    save_file(tensors | more, path, {"bnstudy": json.dumps(header)})


def split(data: dict) -> tuple[dict, dict]:
    tensors = {key: value for key, value in data.items() if isinstance(value, torch.Tensor)}
    return {key: value for key, value in data.items() if key not in tensors}, tensors


@pytest.mark.fault("prepared data with a right hash and bad content")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "its name is ''"),
        ({"name": None}, "its name is None"),
        ({"title": 3}, "its title is 3"),
        ({"classes": []}, r"its classes is \[\]"),
        ({"classes": "012"}, "its classes is '012'"),
        ({"classes": {"a": 1, "b": 2, "c": 3}}, "its classes is {"),
        ({"classes": ["a", "b", ""]}, "a class has no name"),
        ({"classes": ["a", "b", 3]}, "a class has no name"),
        ({"classes": ["a", "b", "b"]}, "each with a name of its own"),
        ({"classes": ["a"]}, "two classes or more"),
        ({"classes": ["a", "b"]}, r"a label is outside 0\.\.1"),
        ({"pixel_max": 0}, "its pixel_max is 0"),
        ({"pixel_max": -5}, "brightest pixel is -5"),
        ({"pixel_max": 256}, "brightest pixel is 256"),
        ({"pixel_max": 255.0}, r"its pixel_max is 255\.0"),
        ({"pixel_max": True}, "its pixel_max is True"),
        ({"pixel_max": float("nan")}, "its pixel_max is nan"),
        ({"pixel_max": 7}, "a pixel is brighter than 7"),
        ({"split_off": 1}, "its split_off is neither"),
        ({"other": 1}, "it must tell name, title, classes, pixel_max and nothing else"),
        ({"train_labels": torch.tensor([0, 1, 2, 3, 0, 1])}, r"train: a label is outside 0\.\.2"),
        ({"test_labels": torch.tensor([0, -1, 0])}, r"test: a label is outside 0\.\.2"),
        ({"test_labels": torch.zeros(3)}, "test_labels is torch.float32"),
        ({"train_labels": torch.zeros(6, dtype=torch.int32)}, "train_labels is torch.int32"),
        ({"train_images": torch.full((6, 1, 2, 2), torch.nan)}, "train_images is torch.float32"),
        ({"train_images": torch.zeros(6, 1, 2, 2).bfloat16()}, "train_images is torch.bfloat16"),
        ({"test_images": torch.zeros(3, 2, 2, dtype=torch.uint8)}, r"images must be \(N, C, H, W\)"),
        ({"test_images": torch.zeros(3, 1, 2, 3, dtype=torch.uint8)}, "test images "),
        ({"test_images": torch.zeros(3, 1, 0, 2, dtype=torch.uint8)}, "N > 0"),
        ({"test_labels": torch.zeros(4, dtype=torch.int64)}, r"labels \(N,\)"),
        ({"train_images": torch.zeros(0, 1, 2, 2, dtype=torch.uint8)}, r"labels \(N,\)"),
        ({"unknown": torch.zeros(3)}, "damaged or not a prepared dataset: make"),
    ],
)
def test_nonsense_with_a_right_hash_is_refused_in_one_sentence(tmp_path: Path, changes: dict, said: str) -> None:
    path = tmp_path / "data"
    further = {key: changes[key] for key in changes.keys() & {"unknown"}}
    forge(path, *split(example() | {key: changes[key] for key in changes.keys() - further}), **further)
    with pytest.raises(UserError, match=said) as caught:
        open_prepared(path)
    assert str(caught.value).startswith(f"{path} is damaged or not a prepared dataset")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("told", ["[]", "3", "null", '"name"', "{", "[" * 100_000, "{}", '{"name": "x"}'])
def test_a_description_that_is_none(tmp_path: Path, told: str) -> None:
    forge(tmp_path / "data", told, split(example())[1])
    with pytest.raises(UserError, match="not a prepared dataset"):
        open_prepared(tmp_path / "data")


def test_what_is_forged_without_nonsense_is_opened(tmp_path: Path) -> None:
    fields, tensors = split(example())
    forge(tmp_path / "data", fields, tensors)
    assert open_prepared(tmp_path / "data").sha256 == write_prepared(tmp_path / "own", **example())


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="the system tells no maps")
def test_an_opened_dataset_is_the_file_itself_not_a_copy(tmp_path: Path) -> None:
    """All jobs of a machine share the pages of one file, and none has to read it first."""
    write_prepared(tmp_path / "data", **example())
    data = open_prepared(tmp_path / "data")
    mapped = [
        range(*(int(end, 16) for end in area.addr.split("-")))
        for area in psutil.Process().memory_maps(grouped=False)
        if area.path == str(tmp_path / "data")
    ]
    for key in ("train_images", "train_labels", "test_images", "test_labels"):
        assert any(getattr(data, key).data_ptr() in area for area in mapped), key


def test_writing_to_an_opened_tensor_does_not_reach_the_file(tmp_path: Path) -> None:
    write_prepared(tmp_path / "data", **example())
    before = (tmp_path / "data").read_bytes()
    open_prepared(tmp_path / "data").train_images.fill_(7)
    assert (tmp_path / "data").read_bytes() == before
