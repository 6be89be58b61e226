"""What a person reads after a run: report.html and MODEL_CARD.md, made from the run folder alone."""

from pipelines.report.card import write_model_card
from pipelines.report.folder import save_figures
from pipelines.report.page import write_report

__all__ = ["save_figures", "write_model_card", "write_report"]
