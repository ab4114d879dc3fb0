# JupyterLab as `make lab` starts it: it opens on this machine, and asks nothing of the network.
c = get_config()  # noqa: F821
c.ServerApp.ip = "127.0.0.1"
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
c.LabApp.extension_manager = "readonly"
