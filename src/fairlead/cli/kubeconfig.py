"""`fairlead kubeconfig`: where the kubeconfig of a running cluster lies."""

from fairlead.cli.homes import DEFAULT_NAME, NameOption, running_cluster


def kubeconfig(name: NameOption = DEFAULT_NAME) -> None:
    """Print the path of the kubeconfig: `export KUBECONFIG=$(fairlead kubeconfig)`."""
    home, _ = running_cluster(name)
    print(home.kubeconfig)
