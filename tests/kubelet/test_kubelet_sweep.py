"""Does a kubelet that starts keep what belongs to pods that are still there, and nothing else?"""

from pathlib import Path

from fairlead.cluster.kubelet.program import sweep


def test_volumes_and_logs_of_pods_that_are_there_are_kept(tmp_path: Path) -> None:
    files = [
        tmp_path / "pods" / uid / part / "file"
        for uid in ("here", "gone", "runs")
        for part in ("volumes", "containers", "place")
    ]
    files += [tmp_path / "logs" / name / "main" / "0.log" for name in ("ns_p_here", "ns_p_gone", "ns_p_runs")]
    for file in files:
        file.parent.mkdir(parents=True)
        file.touch()
    (tmp_path / "logs" / "kubelet.log").touch()
    sweep(tmp_path, {"here"}, {"runs"})
    kept = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert kept == {
        "pods/here/volumes/file",
        "pods/runs/volumes/file",
        "pods/runs/containers/file",
        "pods/runs/place/file",
        "logs/ns_p_here/main/0.log",
        "logs/ns_p_runs/main/0.log",
        "logs/kubelet.log",
    }
