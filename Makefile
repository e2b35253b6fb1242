.PHONY: style quality test schema boards

PYTHON ?= python

style:  ## format the code and mend what can be mended
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

quality:  ## check without changing anything
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

test:  ## everything that needs no GPU, licence or internet beyond a package index
	$(PYTHON) -m pytest

schema:  ## write registry.schema.json from the code
	$(PYTHON) -m zoo.check registry=true write_schema=true

boards:  ## draw the leaderboards from the records
	$(PYTHON) -m zoo.leaderboard
