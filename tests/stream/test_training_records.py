import shutil

from upath import UPath

from omnimat.stream.training_records import training_records


def test_damaged_records_are_left_out_and_said(dataset, records, tmp_path, capsys):
    damaged = UPath(tmp_path / "damaged")
    shutil.copytree(dataset.path, damaged.path)
    rows = records[records["split"] == "train"].iloc[1:3]
    for _, row in rows.iterrows():
        shard = damaged / f"shard-{row['shard']:05d}.tar"
        data = bytearray(shard.read_bytes())
        data[row["offset_bytes"] + row["size_bytes"] // 2] ^= 1
        shard.write_bytes(data)
    lost = rows["material_id"].tolist()
    whole = [record.material_id for record in training_records(dataset, ())]
    assert capsys.readouterr().out == ""
    left = [record.material_id for record in training_records(damaged, ())]
    assert left == [one for one in whole if one not in lost]
    assert f"2 damaged training records were left out, the first {lost[0]}: " in (
        capsys.readouterr().out
    )
