"""Every threshold of the behavior rules, with its unit and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class BehaviorParameters:
    """Lengths are in standing heights H of the person, speeds in H/s, times in seconds, angles in degrees.

    "Proportions" are the segment lengths of Drillis and Contini 1966 (Body Segment Parameters): hip 0.53 H, knee
    0.285 H, shoulder 0.82 H above the ground, trunk 0.29 H, arm 0.33 H to the wrist. "Simulated" is a run over
    synthetic people before a camera.
    """

    # What a sample needs to be used
    keypoint_score: float = 0.2
    """Score from which a keypoint counts; the MoveNet model card uses 0.2-0.3, yolo-pose 0.25-0.5."""
    edge_share: float = 0.006
    """Share of the frame's side within which a box is taken to be cut off by the frame (3 px of 480)."""

    # Motion
    speed_window_s: float = 2.0
    """Speed is the slope of a line through this much time: net, never path length (sway would add up at 10 fps)."""
    walking_enter: float = 0.12
    """H/s. Comfortable gait is 0.75-0.88 H/s (1.27-1.46 m/s, Bohannon 1997), people who step up to a shelf are slower:
    0.09 to 0.25 in a shop, where nineteen of twenty seconds of the same people standing had less than 0.04."""
    walking_leave: float = 0.06
    """H/s."""
    brisk: float = 0.25
    """H/s. What never gets as fast as this has to last to be walking: bending and sitting down move a body, too."""
    stroll_s: float = 1.5
    """And so long."""
    passing: float = 0.15
    """H/s. Who is faster than this before a shelf passes it, and does not look at it."""
    running: float = 1.2
    """H/s. A fast walk is 1.75-2.5 m/s, 1.05-1.5 H/s (Bohannon 1997)."""
    running_s: float = 1.0
    foreshortening: float = 0.5
    """Rows per step along the line of sight against one across it: the sine of a camera's look down at 30 degrees."""
    focal_share: float = 0.9
    """Focal length over the longer side of the frame: a 58 degree lens, when nothing says otherwise."""

    highest_confidence: float = 0.95
    """No rule is surer than this: on labelled clips even the plain postures are wrong in one sample of six."""

    # Posture timeline
    switch_cost_s: float = 0.4
    """Seconds of full evidence that a change of posture has to be worth; one clear second suffices, 0.2 s do not."""
    unknown_score: float = 0.35
    """A posture that fits worse than this is unknown."""
    crouch_s: float = 3.0
    """A low posture between two upright ones that is shorter is a squat, not a seat."""
    bridge_s: float = 2.0
    """Equal behaviors this close together are one; a longer time without a sample is unknown."""

    # Collapse
    fall_transition_s: float = 2.5
    """From the last upright sample to the first lying one. A fall takes 0.6-1.2 s (simulated at 1 fps: up to 2.2 s
    between those samples); lying down by way of a seat takes longer."""
    fall_unseen_s: float = 2.0
    """As much time without a usable sample may come on top of it: falling people are blurred and missed."""
    fall_hip_drop: float = 0.12
    """H. What the hips of somebody who falls off a chair come down (0.27 to 0.06 H); on a bed they stay."""
    fall_rise: float = 0.25
    """H. How far the lowest point may lie above where the feet stood; a bed is 0.3 H high."""
    hold_s: float = 3.0
    """Lying time that makes a collapse certain; simulated at 1 fps: 3 s gives recall 1.0."""
    hold_least_s: float = 1.0
    """Lying time below which nothing is said: two samples at 1 fps."""

    # Hands
    reach: float = 0.25
    """H. Distance of the wrist from the axis of the trunk; an arm is 0.33 H, a swinging hand stays below 0.2."""
    reach_s: float = 0.3
    """Shortest reach; at rates that cannot resolve it one sample counts."""
    retract_s: float = 3.0
    """A reach that is not over within this time is not the taking of an item."""
    reach_speed: float = 0.5
    """H/s. Nobody picks from a shelf while walking faster than this."""
    picking_confidence: float = 0.5
    """Highest confidence without shelf zones: pose alone confuses reach and retract (Islam 2019: 82 %)."""
    shelf_confidence: float = 0.7
    """Highest confidence of a reach whose hand is at a shelf; what it came back with is not seen even there."""
    shelf_margin: float = 0.1
    """H. From the wrist to a shelf's polygon: a hand is 0.11 H long (Drillis and Contini 1966)."""
    facing_deg: float = 45.0
    """A shelf this close to where a body faces is looked at: published models are within 45 degrees in 95 % (JointBDOE
    on MEBOW)."""
    facing_window_s: float = 2.0
    """Directions are averaged over this much time; a single one errs by tens of degrees."""
    shelf_distance: float = 2.0
    """H on the ground between a person and a shelf's foot within which it is looked at; labels are read from 2-3 m."""
    view_s: float = 1.0
    """A look at a shelf that is shorter is a glance in passing."""

    # Concealment
    pocket: float = 0.12
    """H. Distance of the wrist from the own hip."""
    pocket_elbow_deg: float = 145.0
    """A hanging hand is near the hip too, but its elbow is straight (about 170 degrees)."""
    pocket_s: float = 1.0
    pocket_after_s: float = 10.0
    """Time from picking to concealment."""
    theft_confidence: float = 0.35
    """Highest confidence: from poses alone published AUC is 0.67 (PoseLift), which is triage."""
    unpaid_confidence: float = 0.6
    """Highest confidence where the person was then seen to leave by an exit without having paid."""
    checkout_s: float = 3.0
    """Time in a checkout zone after which goods count as paid for; passing through it takes a second."""

    # Between two people
    near: float = 0.8
    """H between foot points within which an arm reaches the other (0.33 H of arm, 0.3 H of lean)."""
    strike_rate_hz: float = 8.0
    """Below it strikes cannot be seen: of a wrist's 1.5 H/s 5 Hz shows 0.95, 8 Hz 1.27 (simulated, 2.5 blows/s)."""
    strike_speed: float = 1.0
    """H/s of the wrist against the own shoulder."""
    strike_distance: float = 0.5
    """H from the striking wrist to the other's trunk or head."""
    strikes: int = 2
    strikes_within_s: float = 2.0
    shove_opening: float = 0.5
    """H by which two people come apart within `shove_s` after one touched the other."""
    shove_s: float = 0.5
    shove_tilt_deg: float = 20.0
    """Jump of the trunk's lean that goes with a shove."""
    violent_confidence: float = 0.6
    """Highest confidence: skeletons reach 90 % on clips of fights (RWF-2000), rules are not that good."""
    candidate_confidence: float = 0.3
    """Highest confidence of what is a candidate only."""

    # Anomalies
    lying_unseen_s: float = 5.0
    """Who lies before and after so long without being seen well has lain there."""
    lying_s: float = 3.0
    """Lying without a fall seen is reported from here on."""
    floor_unknown_s: float = 20.0
    loitering_s: float = 300.0
    """Dwell in view that is out of the ordinary; a shop visit is 60-180 s."""
    restricted_s: float = 1.0
    """Time in a restricted zone that is an anomaly: a foot point that jitters over its edge is there for a moment."""
    after_hours_s: float = 2.0
    """Time in view while the store is closed."""
    crowd: float = 0.0
    """More people than this in view at once are an anomaly; 0: no limit."""
    crowd_s: float = 3.0

    # False-alarm control, where a camera is known
    cooldown_s: float = 60.0
    """Time after an alarm of one rule in which the next ones of that rule and camera are repeats of it."""
    least_displacement: float = 0.15
    """H that somebody must have moved on the ground before presence alone is an alarm: posters and mannequins stay
    within .06 of their height (detections.DetectionParameters.still_share)."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or value < 0:
                raise ValueError(f"{field.name} is {value}, expected a number of at least 0")
        if self.walking_leave >= self.walking_enter:
            raise ValueError(f"walking_leave {self.walking_leave} must be less than walking_enter {self.walking_enter}")
